"""A local file server that can send wrong sizes, stall and drop connections."""

import contextlib
import datetime
import hashlib
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Responder = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Sends the server's `files`, or calls its `responders`."""

    server: "FileServer"
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/")
        self.server.requests.append((self.path, self.headers))
        self.close_connection = True
        with contextlib.suppress(OSError):  # the client may have disconnected
            if path in self.server.responders:
                self.server.responders[path](self)
            elif path in self.server.files:
                self.send_file(self.server.files[path])
            else:
                self.respond(404)

    def send_file(self, data: bytes) -> None:
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        if self.headers["If-None-Match"] == tag:
            self.respond(304)
        else:
            self.respond(200, data, ETag=tag)

    def respond(self, status: int, data: bytes = b"", /, **headers: str) -> None:
        self.send_head(status, len(data), **headers)
        self.wfile.write(data)

    def send_head(self, status: int, length: int | None, /, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            headers["Content-Length"] = str(length)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        pass


class FileServer(ThreadingHTTPServer):
    """Serves `files` by path; `responders` take precedence. `requests` are those received."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.responders: dict[str, Responder] = {}
        self.requests: list[tuple[str, Message]] = []
        self.stalled = threading.Event()
        self.closing = threading.Event()
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    @property
    def paths(self) -> list[str]:
        return [path.removeprefix("/") for path, _ in self.requests]

    def publish(self, folder: Path, prefix: str) -> None:
        """Serve the files of `folder` below `prefix`."""
        self.files |= {f"{prefix}/{path.name}": path.read_bytes() for path in folder.iterdir()}

    def stall(self, path: str) -> None:
        """Send the first half of `path`, then nothing until the server closes."""
        data = self.files[path]

        def send_half(handler: Handler) -> None:
            handler.send_head(200, len(data))
            handler.wfile.write(data[: len(data) // 2])
            self.stalled.set()
            self.closing.wait()

        self.responders[path] = send_half

    def trickle(self, path: str) -> None:
        """Send single bytes, fast enough to avoid read timeouts."""

        def send_bytes(handler: Handler) -> None:
            handler.send_head(200, 1_000_000)
            while not self.closing.wait(0.02):
                handler.wfile.write(b"x")
                self.stalled.set()

        self.responders[path] = send_bytes

    def interrupt(self, path: str) -> None:
        """Announce all of `path` and disconnect in the middle of it."""
        data = self.files[path]

        def send_half(handler: Handler) -> None:
            handler.send_head(200, len(data))
            handler.wfile.write(data[: len(data) // 2])

        self.responders[path] = send_half


@contextlib.contextmanager
def serving(certificate: Path | None = None) -> Iterator[FileServer]:
    """Run a server, with TLS if there is a `certificate` (with its key)."""
    server = FileServer()
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def write_certificate(path: Path, *names: str) -> Path:
    """Write a self-signed certificate and its key for `names` and 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([loopback, *(x509.DNSName(name) for name in names)]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(pem))
    return path
