"""Who may open the page, see the history and change models."""

from contextlib import nullcontext
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from frontend.service import access
from frontend.service.access import is_listed, is_loopback, parse_users
from tests.client.fake_server import FakeResponse, serving
from tests.frontend.app import APP, models_response, page_text

ANA = {"is_logged_in": True, "email": "ana@example.com", "email_verified": True}
USERS = parse_users("Ana@Example.com, example.org ,")
HISTORY = "views/history/page.py"
VISITOR = {"is_logged_in": False}
SIGN_IN = "Sign in to open this page."
DENIED = "Your account does not have access to this page."
PAGE = b'{"answers": [], "next": null}'


def user(email: object, verified: object = True) -> dict[str, Any]:
    return {"is_logged_in": True, "email": email, "email_verified": verified}


@pytest.mark.parametrize(
    "email", ["ana@example.com", "ANA@EXAMPLE.COM", "bo@example.org", "x.y+z@Example.Org"]
)
def test_listed_addresses_and_domains_are_allowed(email: str) -> None:
    assert is_listed(user(email), USERS)


@pytest.mark.parametrize(
    "email",
    [
        *("bo@example.com", "ana@example.com.evil.net", "aana@example.com", "ana@evil.example.com"),
        *(
            "bo@evil-example.org",
            "bo@example.org.evil.net",
            "bo@sub.example.org",
            "bo@xexample.org",
        ),
        *("example.org", "@example.org", "", "bo@", "bo@evil.net@example.org", "bo@example.org."),
        *(
            "bo@example.org\n",
            " ana@example.com",
            "evil.net bo@example.org",
            None,
            ["bo@example.org"],
        ),
    ],
)
def test_other_addresses_are_not_allowed(email: object) -> None:
    assert not is_listed(user(email), USERS)


@pytest.mark.parametrize("verified", [False, "false", None, "yes", 1.5])
def test_unverified_address_is_not_allowed(verified: object) -> None:
    assert not is_listed(user("ana@example.com", verified), USERS)
    assert not is_listed({"email": "ana@example.com"}, USERS)


def test_empty_list_allows_nobody() -> None:
    assert parse_users(" , ,@") == frozenset()
    assert not is_listed(ANA, parse_users(""))


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8501", "127.0.0.1:1", "127.9.9.9", "[::1]:8501"]
)
def test_loopback_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "example.com", "localhost.evil.net", "0.0.0.0", "10.0.0.1", "[::]", "a@b:c:d", "[x"],
)
def test_other_names_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("address", "host", "is_open"),
    [
        ("127.0.0.1", "localhost:8501", True),
        ("localhost", "127.0.0.1:8501", True),
        ("127.0.0.1", "page.example.com", False),  # through a proxy
        ("127.0.0.1", None, False),
        ("0.0.0.0", "localhost:8501", False),  # a container
        (None, "localhost:8501", False),
    ],
)
@pytest.mark.parametrize("setting", [None, "", "true", "false", "maybe"])
def test_page_is_open_on_the_own_machine_only(
    monkeypatch: pytest.MonkeyPatch,
    address: str | None,
    host: str | None,
    is_open: bool,
    setting: str | None,
) -> None:
    class Context:
        headers = {"Host": host} if host else {}

    monkeypatch.setattr("streamlit.get_option", lambda _: address)
    monkeypatch.setattr("streamlit.context", Context)
    monkeypatch.delenv("PRISM_PAGE_USERS", raising=False)
    if setting is not None:
        monkeypatch.setenv("PRISM_PAGE_OPEN", setting)
    expected = setting == "true" if setting else is_open
    assert access.may_manage() is expected


@pytest.mark.parametrize(
    ("name", "value", "is_valid"),
    [
        ("PRISM_PAGE_SIGN_IN", "ture", False),
        ("PRISM_PAGE_OPEN", "everyone", False),
        ("PRISM_PAGE_USERS", "ana@example.com;example.org", False),
        ("PRISM_PAGE_USERS", "ana@example.com bo@example.com", False),
        ("PRISM_PAGE_SIGN_IN", " True ", True),
        ("PRISM_PAGE_OPEN", "", True),
        ("PRISM_PAGE_USERS", "Ana@example.com, @example.org,", True),
    ],
)
def test_invalid_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, is_valid: bool
) -> None:
    monkeypatch.setenv(name, value)
    with nullcontext() if is_valid else pytest.raises(ValueError, match=f"{name}={value}: must be"):
        access.check_settings()


def open_page(
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    account: dict[str, Any],
    *,
    page: str = HISTORY,
    **settings: str,
) -> AppTest:
    for name in (access.USERS_SETTING, access.SIGN_IN_SETTING, access.OPEN_SETTING):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"BACKEND": url, **settings}.items():
        monkeypatch.setenv(name, value)
    app = AppTest.from_file(str(APP), default_timeout=30)
    app.user = account
    app.run()
    return app.switch_page(page).run()


@pytest.mark.parametrize(
    ("account", "settings", "message"),
    [
        ({}, {}, "This page is available to signed-in users only"),
        ({}, {"PRISM_PAGE_OPEN": "false"}, "This page is available to signed-in users only"),
        (VISITOR, {"PRISM_PAGE_USERS": "example.com"}, SIGN_IN),
        (VISITOR, {"PRISM_PAGE_USERS": "example.com", "PRISM_PAGE_OPEN": "true"}, SIGN_IN),
        (ANA, {}, DENIED),
        (ANA, {"PRISM_PAGE_USERS": "bo@example.com"}, DENIED),
        ({**ANA, "is_logged_in": False}, {"PRISM_PAGE_USERS": "example.com"}, SIGN_IN),
        (ANA, {"PRISM_PAGE_USERS": "example.com"}, ""),
        ({}, {"PRISM_PAGE_OPEN": "true"}, ""),
    ],
)
def test_history_is_shown_to_listed_users_only(
    monkeypatch: pytest.MonkeyPatch,
    account: dict[str, Any],
    settings: dict[str, str],
    message: str,
) -> None:
    responses = {"models": models_response(digits="digit")}
    with serving(FakeResponse(PAGE), **responses) as (url, requests):
        app = open_page(monkeypatch, url, account, **settings)
        history_requests = [one.path for one in requests if "history" in one.path]
        assert bool(history_requests) is not bool(message)
        if message:
            assert message in page_text(app)
            assert not app.get("link_button")
            assert app.title[0].value == "History"
        denied = message == DENIED
        buttons = {one.label for one in app.button}
        assert ("Sign out" in buttons) is (account.get("is_logged_in") is True)
        assert ("Sign in" in buttons) is (account.get("is_logged_in") is False)
        assert denied is bool(app.error) or not message


def test_other_pages_remain_available(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(models_response(digits="digit")) as (url, _):
        app = open_page(monkeypatch, url, {}, page="views/models/page.py")
        assert "This backend serves 1 model." in page_text(app)


@pytest.mark.parametrize(
    ("account", "users", "message"),
    [
        ({}, "", "This page is available to signed-in users only"),
        (VISITOR, "", SIGN_IN),
        (ANA, "example.org", DENIED),
        (ANA, "example.com", ""),
        ({"is_logged_in": True}, "", ""),
    ],
)
def test_page_can_require_a_sign_in(
    monkeypatch: pytest.MonkeyPatch, account: dict[str, Any], users: str, message: str
) -> None:
    settings = {"PRISM_PAGE_SIGN_IN": "true", "PRISM_PAGE_USERS": users}
    with serving(models_response(digits="digit")) as (url, requests):
        for name, value in {"BACKEND": url, **settings}.items():
            monkeypatch.setenv(name, value)
        app = AppTest.from_file(str(APP), default_timeout=30)
        app.user = account
        app.run()
        assert bool(requests) is not bool(message)
        assert message in page_text(app)
        assert app.title[0].value == ("Prism" if message else "Classify")
