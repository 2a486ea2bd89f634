"""Senders of hostile requests: damaged and huge images, slow and cut connections, and others."""

import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import quote

import httpx
from PIL import Image

from tests.images import SEVEN, encoded, noise
from tests.inference.images.bombs import gif, png, webp, webp_canvas

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF")
KEY = "a-key-of-a-client"

Sender = Callable[[random.Random], str]


class HostileTraffic:
    """Sends requests of every kind from one thread each, until it is closed.

    `outcomes` counts status codes, and "closed" for connections without a response, by kind.
    """

    def __init__(self, port: int) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self._port = port
        self._running = threading.Event()
        self._is_closed = False
        self._busy = threading.Semaphore(0)
        self._samples = [encoded(noise(200, 150), form) for form in FORMATS]
        self._photo = encoded(noise(3000, 2000), "JPEG")
        self._bombs = [
            gif((65535, 65535)),
            gif((8000, 8000), (8000, 8000)),
            webp(7000, 7000),
            webp_canvas(16000, 16000),
            png(30000, 30000, pixels=b"x"),
            png(7000, 7000),
            encoded(Image.new("1", (7000, 7000)), "TIFF"),
        ]
        self._bodies = [
            b"{", b"[" * 100_000, b"[" + b"[]," * 300_000 + b"[]]", b'{"input": ' + b"[" * 999,
            json.dumps({"input": [[0] * 783]}).encode(), b'{"a":1e999}', b"\xff\xfe", b"null",
            json.dumps({"drawing_data": "data:image/png;base64,AAAA"}).encode(),
        ]  # fmt: skip
        kinds = (
            self._ordinary, self._mutant, self._bomb, self._json, self._hurried, self._form,
            self._unknown, self._wrong_key, self._batch, self._history, self._slow_body,
            self._slow_head, self._cut_body, self._cancelled, self._garbage, self._pipelined,
            self._silent_reader,
        )  # fmt: skip
        self._threads = [threading.Thread(target=self._run, args=(kind,)) for kind in kinds]
        for thread in self._threads:
            thread.start()

    def run(self, seconds: float) -> None:
        """Send requests for `seconds`, then wait until the last ones have ended."""
        self._running.set()
        time.sleep(seconds)
        self._running.clear()
        for _ in self._threads:
            self._busy.acquire()

    def close(self) -> None:
        """Stop all threads."""
        self._is_closed = True
        self._running.set()
        for thread in self._threads:
            thread.join()

    def _run(self, send: Sender) -> None:
        rng = random.Random(send.__name__)
        self._running.wait()
        while not self._is_closed:
            try:
                outcome = send(rng)
            except (OSError, httpx.TransportError):
                outcome = "closed"
            self.outcomes[send.__name__.strip("_"), outcome] += 1
            if not self._running.is_set():
                self._busy.release()
                self._running.wait()

    def _request(self, method: str, path: str, key: str = KEY, **options: object) -> str:
        headers = {"Authorization": f"Bearer {key}"} | options.pop("headers", {})  # type: ignore[operator]
        url = f"http://127.0.0.1:{self._port}{path}"
        with httpx.Client(trust_env=False, timeout=60, verify=False) as client:
            response = client.request(method, url, headers=headers, **options)  # type: ignore[arg-type]
        return str(response.status_code)

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=60)

    def _head(self, length: int, path: str = "/classify") -> bytes:
        return (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
            f"Content-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    def _ordinary(self, rng: random.Random) -> str:
        time.sleep(rng.uniform(0, 0.1))
        query = rng.choice(("", "?model=mnist-cnn", "?model=photos", "?explain=true&model=photos"))
        return self._request("POST", f"/classify{query}", files={"file": SEVEN})

    def _mutant(self, rng: random.Random) -> str:
        data = bytearray(rng.choice(self._samples))
        for _ in range(rng.choice((1, 3, 30))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        del data[rng.randrange(len(data) // 2, len(data) * 2) :]
        return self._request("POST", "/classify", content=bytes(data), headers=IMAGE)

    def _bomb(self, rng: random.Random) -> str:
        time.sleep(rng.uniform(0, 0.3))
        return self._request("POST", "/classify", content=rng.choice(self._bombs), headers=IMAGE)

    def _json(self, rng: random.Random) -> str:
        path = rng.choice(("/predict", "/predict_nn/", "/classify"))
        headers = {"Content-Type": "application/json"}
        return self._request("POST", path, content=rng.choice(self._bodies), headers=headers)

    def _hurried(self, rng: random.Random) -> str:
        headers = {**IMAGE, "X-Request-Timeout": "0.001"}
        return self._request("POST", "/classify", content=self._photo, headers=headers)

    def _form(self, rng: random.Random) -> str:
        kind = rng.randrange(3)
        if kind == 0:
            return self._request("POST", "/classify", files={"file": bytes(20_000_000)})
        if kind == 1:
            return self._request("POST", "/classify", data={f"f{i}": "x" for i in range(2000)})
        return self._request(
            "POST", "/predict_nn/", data={"drawing_data": "data:," + "A" * 500_000}
        )

    def _unknown(self, rng: random.Random) -> str:
        time.sleep(0.01)
        path = quote("".join(chr(rng.randrange(33, 0x2000)) for _ in range(rng.randrange(1, 200))))
        return self._request(rng.choice(("GET", "PUT", "BREW", "POST")), f"/{path}")

    def _wrong_key(self, rng: random.Random) -> str:
        time.sleep(0.01)
        return self._request("POST", "/classify", key=f"{rng.random()}", files={"file": SEVEN})

    def _batch(self, rng: random.Random) -> str:
        files = [("file", rng.choice((SEVEN, b"x", self._samples[0]))) for _ in range(50)]
        return self._request("POST", "/classify/batch", files=files)

    def _history(self, rng: random.Random) -> str:
        query = rng.choice(("", "?limit=100", "?since=x", "?until=0.5", "?label=" + "x" * 500))
        path = rng.choice(("/history", "/history/export", "/history/drift", "/metrics", "/models"))
        return self._request("GET", path + query)

    def _slow_body(self, rng: random.Random) -> str:
        with self._connect() as connection:
            connection.sendall(self._head(len(SEVEN)))
            for position in range(rng.randrange(30)):
                connection.sendall(SEVEN[position : position + 1])
                time.sleep(0.1)
        return "sent"

    def _slow_head(self, rng: random.Random) -> str:
        with self._connect() as connection:
            for byte in self._head(10)[: rng.randrange(30)]:
                connection.sendall(bytes((byte,)))
                time.sleep(0.1)
        return "sent"

    def _cut_body(self, rng: random.Random) -> str:
        with self._connect() as connection:
            connection.sendall(self._head(len(self._photo)) + self._photo[:50_000])
            if rng.random() < 0.5:  # a reset instead of an orderly end
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        time.sleep(0.02)
        return "sent"

    def _cancelled(self, rng: random.Random) -> str:
        with self._connect() as connection:
            connection.sendall(self._head(len(self._photo)) + self._photo)
            time.sleep(rng.uniform(0, 0.1))
        return "sent"

    def _garbage(self, rng: random.Random) -> str:
        data = rng.choice(
            (rng.randbytes(1000), b"\x16\x03\x01" + bytes(300), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
             b"GET / HTTP/1.1\r\nX: " + b"a" * 200_000, b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n",
             b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 5000 + b"\r\n")
        )  # fmt: skip
        with self._connect() as connection:
            connection.settimeout(0.5)
            connection.sendall(data)
            connection.recv(1000)
        return "sent"

    def _pipelined(self, rng: random.Random) -> str:
        head = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with self._connect() as connection:
            connection.settimeout(0.5)
            connection.sendall(head * 100)
            for _ in range(rng.randrange(20)):
                connection.recv(65536)
        return "sent"

    def _silent_reader(self, rng: random.Random) -> str:
        head = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with self._connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(1)
            connection.sendall(head * 200)
            time.sleep(rng.uniform(0, 5))
        return "sent"


IMAGE = {"Content-Type": "image/png"}
