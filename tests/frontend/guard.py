"""A guard before a backend, as Cloud Run's is, and the metadata server whose tokens it takes.

The tokens are signed with a key of the test's own, and verified by Google's own library.
"""

import datetime
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth import crypt, jwt
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.oauth2 import id_token

ACCOUNT = "page@demo.iam.gserviceaccount.com"
KEY = "key-1"


@dataclass
class Metadata:
    """A metadata server whose tokens last `ttl` seconds; `audiences` were asked for so far."""

    ttl: int = 3600
    is_down: bool = False
    audiences: list[str] = field(default_factory=list)
    host: str = ""

    def __post_init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        self._certificate = made.public_bytes(serialization.Encoding.PEM).decode()
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self._signer = crypt.RSASigner.from_string(pem, key_id=KEY)  # type: ignore[no-untyped-call]

    @property
    def certificates(self) -> str:
        """Where the public keys are."""
        return f"http://{self.host}/certs"

    def answer(self, path: str, query: dict[str, list[str]]) -> str | None:
        account = "/computeMetadata/v1/instance/service-accounts/default"
        if path == "/certs":
            return json.dumps({KEY: self._certificate})
        if self.is_down:
            return None
        if path == f"{account}/identity":
            return self._token(query["audience"][0])
        if path == f"{account}/":
            return json.dumps({"email": ACCOUNT, "scopes": []})
        return "computeMetadata/" if path == "/" else None

    def _token(self, audience: str) -> str:
        self.audiences.append(audience)
        now = int(time.time())
        claims = {
            "iss": "https://accounts.google.com",
            "aud": audience,
            "email": ACCOUNT,
            "email_verified": True,
            "iat": now,
            "exp": now + self.ttl,
        }
        signed: bytes = jwt.encode(self._signer, claims)  # type: ignore[no-untyped-call]
        return signed.decode()


@dataclass
class Guard:
    """Lets through to `target` who shows a token for `audience`; `seen` are the tokens."""

    target: str
    audience: str
    certificates: str
    seen: list[str] = field(default_factory=list)

    def admits(self, token: str) -> bool:
        """Whether Google's library finds the token to be `ACCOUNT`'s."""
        self.seen.append(token)
        try:
            claims = id_token.verify_token(
                token,
                Request(),
                audience=self.audience,
                certs_url=self.certificates,
            )
        except (ValueError, GoogleAuthError):
            return False
        return bool(claims["email"] == ACCOUNT)


@contextmanager
def metadata(server: Metadata) -> Iterator[Metadata]:
    """Run a metadata server."""

    class Handler(_Silent):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            text = server.answer(parts.path, parse_qs(parts.query))
            is_asked_rightly = (
                parts.path == "/certs" or self.headers.get("Metadata-Flavor") == "Google"
            )
            status = 404 if text is None or not is_asked_rightly else 200
            kind = "application/json" if (text or "").startswith("{") else "text/plain"
            self.reply(status, (text or "").encode(), kind)

    with _listening(Handler) as host:
        server.host = host
        yield server


@contextmanager
def guarded(guard: Guard) -> Iterator[str]:
    """Yield the address of the guard."""

    class Handler(_Silent):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            scheme, _, token = self.headers.get("Authorization", "").partition(" ")
            if scheme != "Bearer" or not guard.admits(token):
                self.reply(403, b"<html>Your client does not have permission</html>", "text/html")
                return
            passed = {
                name: value
                for name, value in self.headers.items()
                if name in ("Content-Type", "X-API-Key")
            }
            answer = requests.request(
                self.command, guard.target + self.path, data=body, headers=passed, timeout=30
            )
            self.reply(answer.status_code, answer.content, answer.headers["Content-Type"])

        do_POST = do_GET  # noqa: N815 (the names that http.server looks for)

    with _listening(Handler) as host:
        yield f"http://{host}"


class _Silent(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def reply(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def _listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
