"""A fake of Cloud Run's authentication in front of a backend, and of its metadata server.

The tokens are signed with a test key, and verified by Google's own library.
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
class MetadataServer:
    """A metadata server whose tokens last `ttl` seconds; `audiences` lists the requests."""

    ttl: int = 3600
    is_down: bool = False
    audiences: list[str] = field(default_factory=list)
    host: str = ""

    def __post_init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        self._certificate = certificate.public_bytes(serialization.Encoding.PEM).decode()
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self._signer = crypt.RSASigner.from_string(pem, key_id=KEY)  # type: ignore[no-untyped-call]

    @property
    def certificates(self) -> str:
        """The URL of the public keys."""
        return f"http://{self.host}/certs"

    def respond(self, path: str, query: dict[str, list[str]]) -> str | None:
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
class AuthProxy:
    """Forwards requests with a valid token for `audience` to `target`; records the `tokens`."""

    target: str
    audience: str
    certificates: str
    tokens: list[str] = field(default_factory=list)

    def is_valid(self, token: str) -> bool:
        """Return whether Google's library verifies the token as `ACCOUNT`'s."""
        self.tokens.append(token)
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
def run_metadata_server(server: MetadataServer) -> Iterator[MetadataServer]:
    """Run a metadata server."""

    class Handler(_Handler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            text = server.respond(parts.path, parse_qs(parts.query))
            is_valid_request = (
                parts.path == "/certs" or self.headers.get("Metadata-Flavor") == "Google"
            )
            status = 404 if text is None or not is_valid_request else 200
            kind = "application/json" if (text or "").startswith("{") else "text/plain"
            self.reply(status, (text or "").encode(), kind)

    with _serve(Handler) as host:
        server.host = host
        yield server


@contextmanager
def run_auth_proxy(proxy: AuthProxy) -> Iterator[str]:
    """Run the proxy and yield its URL."""

    class Handler(_Handler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            scheme, _, token = self.headers.get("Authorization", "").partition(" ")
            if scheme != "Bearer" or not proxy.is_valid(token):
                self.reply(403, b"<html>Your client does not have permission</html>", "text/html")
                return
            forwarded = {
                name: value
                for name, value in self.headers.items()
                if name in ("Content-Type", "X-API-Key")
            }
            response = requests.request(
                self.command, proxy.target + self.path, data=body, headers=forwarded, timeout=30
            )
            self.reply(response.status_code, response.content, response.headers["Content-Type"])

        do_POST = do_GET  # noqa: N815 (required by http.server)

    with _serve(Handler) as host:
        yield f"http://{host}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Disable logging."""

    def reply(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def _serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
