"""Slow clients at once: are other clients and probes served meanwhile?

python -m tests.e2e.slow_clients 60 [PORT]

Clients of four addresses send bodies and heads of one byte a second, or never read what they
requested, and reconnect as soon as they are cut off. Another address sends images on new and on
open connections, and a third one probes. PORT names a backend that already runs.
"""

import asyncio
import multiprocessing
import socket
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from tests.e2e.backend_process import BackendProcess
from tests.images import SEVEN

ATTACKERS = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
CLIENT = "127.0.0.9"
PROBER = "127.0.0.10"

_BODY_HEAD = (
    b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    b"Content-Length: 100000\r\n\r\n"
)
_HEAD_START = b"GET /classify HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
_UNREAD = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 300


@dataclass(frozen=True)
class Attack:
    """Numbers of slow clients of each kind."""

    bodies: int = 1100
    heads: int = 300
    readers: int = 100


@dataclass
class Outcome:
    """Status codes, 0 for a failed connection, and seconds of the requests and the probes."""

    requests: Counter[int] = field(default_factory=Counter)
    probes: Counter[int] = field(default_factory=Counter)
    request_seconds: list[float] = field(default_factory=list)
    probe_seconds: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(
            f"{name}: {dict(counts)}, success {success_rate(counts):.3%}, "
            f"p50 {percentile(seconds, 0.5):.0f} ms, p99 {percentile(seconds, 0.99):.0f} ms, "
            f"max {max(seconds) * 1e3:.0f} ms"
            for name, counts, seconds in (
                ("requests", self.requests, self.request_seconds),
                ("probes", self.probes, self.probe_seconds),
            )
        )


def success_rate(counts: Counter[int]) -> float:
    """Return the share of 200 among the status codes."""
    return counts[200] / counts.total()


def percentile(seconds: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return sorted(seconds)[int(share * (len(seconds) - 1))] * 1e3


def run(port: int, seconds: float, attack: Attack) -> Outcome:
    """Attack the backend on `port` and measure what other clients get meanwhile."""
    attacker = multiprocessing.get_context("spawn").Process(
        target=_attack, args=(port, attack), daemon=True
    )
    attacker.start()
    try:
        return asyncio.run(_measure(port, seconds))
    finally:
        attacker.kill()
        attacker.join()


def _attack(port: int, attack: Attack) -> None:
    asyncio.run(_run_slow_clients(port, attack))


async def _run_slow_clients(port: int, attack: Attack) -> None:
    kinds = [
        *[(_BODY_HEAD, True)] * attack.bodies,
        *[(_HEAD_START, True)] * attack.heads,
        *[(_UNREAD, False)] * attack.readers,
    ]
    async with asyncio.TaskGroup() as group:
        for number, (start, trickles) in enumerate(kinds):
            address = ATTACKERS[number % len(ATTACKERS)]
            group.create_task(_run_slow_client(port, address, start, trickles))


async def _run_slow_client(port: int, address: str, start: bytes, trickles: bool) -> None:
    loop = asyncio.get_running_loop()
    while True:
        with suppress(OSError), socket.socket() as sock:
            sock.setblocking(False)
            if not trickles:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.bind((address, 0))
            await loop.sock_connect(sock, ("127.0.0.1", port))
            with suppress(TimeoutError):  # the backend does not read all pipelined requests
                await asyncio.wait_for(loop.sock_sendall(sock, start), 1)
            while trickles or _is_established(sock):
                await asyncio.sleep(1)
                if trickles:
                    await loop.sock_sendall(sock, b"x")
        await asyncio.sleep(0.1)


def _is_established(sock: socket.socket) -> bool:
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return info == b"\x01"


async def _measure(port: int, seconds: float) -> Outcome:
    outcome = Outcome()
    await asyncio.sleep(3)  # the slow clients connect
    end = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        for reuses in (True, False):
            for _ in range(2):
                group.create_task(_send_requests(port, end, outcome, reuses))
        group.create_task(_send_probes(port, end, outcome))
    return outcome


async def _send_requests(port: int, end: float, outcome: Outcome, reuses: bool) -> None:
    async with _client(port, CLIENT, reuses) as client:
        while time.monotonic() < end:
            await _record(
                client, "POST", "/classify", outcome.requests, outcome.request_seconds, SEVEN
            )
            await asyncio.sleep(0.02)


async def _send_probes(port: int, end: float, outcome: Outcome) -> None:
    async with _client(port, PROBER, reuses=False) as client:
        while time.monotonic() < end:
            for path in ("/health", "/ready"):
                await _record(client, "GET", path, outcome.probes, outcome.probe_seconds)
            await asyncio.sleep(0.05)


def _client(port: int, address: str, reuses: bool) -> httpx.AsyncClient:
    limits = httpx.Limits(max_keepalive_connections=1 if reuses else 0)
    transport = httpx.AsyncHTTPTransport(local_address=address, limits=limits, verify=False)
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", transport=transport, timeout=10)


async def _record(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    counts: Counter[int],
    seconds: list[float],
    content: bytes | None = None,
) -> None:
    started = time.monotonic()
    try:
        headers = {"Content-Type": "image/png"} if content else {}
        response = await client.request(method, path, content=content, headers=headers)
        counts[response.status_code] += 1
    except httpx.HTTPError:
        counts[0] += 1
    seconds.append(time.monotonic() - started)


if __name__ == "__main__":
    duration = float(sys.argv[1])
    if len(sys.argv) > 2:
        print(run(int(sys.argv[2]), duration, Attack()))
    else:
        with BackendProcess() as backend:
            backend.wait_until_ready()
            print(run(backend.port, duration, Attack()))
