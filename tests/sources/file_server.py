"""A server of files on loopback that can lie, stall and break off."""

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

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers from the server's `files`, or as its `answers` say."""

    server: "FileServer"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/")
        self.server.seen.append((self.path, self.headers))
        self.close_connection = True
        with contextlib.suppress(OSError):  # whoever asked may have gone
            if path in self.server.answers:
                self.server.answers[path](self)
            elif path in self.server.files:
                self.file(self.server.files[path])
            else:
                self.answer(404)

    def file(self, data: bytes) -> None:
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        if self.headers["If-None-Match"] == tag:
            self.answer(304)
        else:
            self.answer(200, data, ETag=tag)

    def answer(self, status: int, data: bytes = b"", /, **headers: str) -> None:
        self.begin(status, len(data), **headers)
        self.wfile.write(data)

    def begin(self, status: int, length: int | None, /, **headers: str) -> None:
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
    """`files` by path; `answers` instead of them, `seen` requests, and an end to any stalling."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Answer] = {}
        self.seen: list[tuple[str, Message]] = []
        self.stalled = threading.Event()
        self.over = threading.Event()
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    @property
    def paths(self) -> list[str]:
        return [path.removeprefix("/") for path, _ in self.seen]

    def publish(self, folder: Path, prefix: str) -> None:
        """Serve the files of `folder` below `prefix`."""
        self.files |= {f"{prefix}/{path.name}": path.read_bytes() for path in folder.iterdir()}

    def stall(self, path: str) -> None:
        """Answer with the first half of `path`, then with nothing until the server closes."""
        data = self.files[path]

        def half(handler: Handler) -> None:
            handler.begin(200, len(data))
            handler.wfile.write(data[: len(data) // 2])
            self.stalled.set()
            self.over.wait()

        self.answers[path] = half

    def trickle(self, path: str) -> None:
        """Answer with a byte at a time, each soon enough for any time-out between two."""

        def drop_by_drop(handler: Handler) -> None:
            handler.begin(200, 1_000_000)
            while not self.over.wait(0.02):
                handler.wfile.write(b"x")
                self.stalled.set()

        self.answers[path] = drop_by_drop

    def break_off(self, path: str) -> None:
        """Promise all of `path` and hang up in the middle of it."""
        data = self.files[path]

        def half(handler: Handler) -> None:
            handler.begin(200, len(data))
            handler.wfile.write(data[: len(data) // 2])

        self.answers[path] = half


@contextlib.contextmanager
def serving(certificate: Path | None = None) -> Iterator[FileServer]:
    """Run a server, over TLS where a `certificate` with its key is given."""
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
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def write_certificate(path: Path, *names: str) -> Path:
    """A certificate and its key for `names` and 127.0.0.1, its own authority."""
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
