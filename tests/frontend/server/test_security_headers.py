"""Headers of the page's responses."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from frontend.server.security_headers import HEADERS, SecurityHeadersMiddleware


async def respond(_: Request) -> Response:
    return PlainTextResponse("x", headers={"X-Frame-Options": "DENY"})


CLIENT = TestClient(
    Starlette(routes=[Route("/", respond)], middleware=[Middleware(SecurityHeadersMiddleware)])
)


def test_every_response_has_the_headers() -> None:
    for path in ("/", "/missing"):
        headers = CLIENT.get(path).headers
        assert {name.lower() for name in HEADERS} <= set(headers)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "camera=(self)" in headers["Permissions-Policy"]
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_header_of_the_response_itself_is_kept() -> None:
    assert CLIENT.get("/").headers.get_list("X-Frame-Options") == ["DENY"]
    assert CLIENT.get("/missing").headers["X-Frame-Options"] == "SAMEORIGIN"


def test_policy_forbids_scripts_of_others_and_inline_scripts() -> None:
    policy = dict(one.split(" ", 1) for one in HEADERS["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == "'self'"
    scripts = policy["script-src"].split()
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "https:"} & set(scripts)
    assert sum(source.startswith("'sha256-") for source in scripts) >= 1
