"""Repeated SIGTERM under load: does every request get a response?

python -m tests.e2e.drain_loop 100

Each round starts a backend, sends requests from several kinds of clients continuously, and sends
SIGTERM; the clients continue until their connections are refused.
"""

import http.client
import random
import select
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import requests

from tests.conftest import ROOT
from tests.e2e.backend_process import BackendProcess

DIGIT_PNG = next(iter(sorted((ROOT / "frontend" / "examples").glob("*.png")))).read_bytes()
EXPECTED_STATUSES = {200, 429, 503}
CLIENTS_PER_KIND = 3
RESET = "reset"

SendRequest = Callable[[], str]


class Outcomes:
    """Counts of outcomes; thread-safe."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, outcome: str) -> None:
        """Count one outcome."""
        with self._lock:
            self.counts[outcome] += 1

    @property
    def lost(self) -> dict[str, int]:
        """The outcomes that must not occur."""
        return {name: count for name, count in self.counts.items() if name.startswith("lost")}


def status_outcome(status: int) -> str:
    """Return the outcome of a response."""
    return f"{status}" if status in EXPECTED_STATUSES else f"lost: status {status}"


def error_outcome(error: Exception, library: str) -> str:
    """Return the outcome of a failed request of a library that wraps the operating system's error.

    A connection that the listener had not accepted yet when it closed is reset.
    """
    text = str(error)
    if "Connection refused" in text or "All connection attempts failed" in text:
        return "refused"
    is_reset = "Connection reset by peer" in text or "Broken pipe" in text
    return RESET if is_reset else f"lost: {library} {error!r}"


def listens(port: int) -> bool:
    """Return whether a connection to the port succeeds."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class PlainClient:
    """A client with http.client, which never retries."""

    def __init__(self, port: int, *, keep_alive: bool, in_halves: bool = False) -> None:
        self._port = port
        self._keep_alive = keep_alive
        self._in_halves = in_halves
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self) -> str:
        """Send one image."""
        connection = self._connection
        is_new = False
        if connection is not None and select.select([connection.sock], [], [], 0)[0]:
            connection.close()  # closed while idle
            connection = None
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            try:
                connection.connect()
            except ConnectionRefusedError:
                return "refused"
            except ConnectionResetError:
                return RESET
            is_new = True
        try:
            return self._send(connection)
        except http.client.RemoteDisconnected:  # closed after the request was received
            self._connection = None
            return "lost: no response"
        except (OSError, http.client.HTTPException) as error:
            self._connection = None
            if is_new and isinstance(error, ConnectionResetError | BrokenPipeError):
                return RESET
            return (
                f"lost: {'keep-alive' if self._keep_alive else 'one-shot'} {type(error).__name__}"
            )

    def _send(self, connection: http.client.HTTPConnection) -> str:
        connection.putrequest("POST", "/classify")
        connection.putheader("Content-Type", "image/png")
        connection.putheader("Content-Length", str(len(DIGIT_PNG)))
        connection.endheaders()
        if self._in_halves:
            connection.send(DIGIT_PNG[:100])
            time.sleep(random.uniform(0, 0.2))
        connection.send(DIGIT_PNG[100:] if self._in_halves else DIGIT_PNG)
        response = connection.getresponse()
        response.read()
        is_kept = self._keep_alive and connection.sock is not None
        self._connection = connection if is_kept else None
        if not is_kept:
            connection.close()
        return status_outcome(response.status)


def requests_client(port: int, *, keep_alive: bool) -> SendRequest:
    """Return a client with requests."""
    session = requests.Session()

    def send() -> str:
        if not keep_alive:
            session.close()
        try:
            response = session.post(f"http://127.0.0.1:{port}/classify", files={"file": DIGIT_PNG})
        except requests.ConnectionError as error:
            return error_outcome(error, "requests")
        return status_outcome(response.status_code)

    session.trust_env = False
    return send


def httpx_client(port: int) -> SendRequest:
    """Return a client with httpx."""
    client = httpx.Client(trust_env=False, timeout=20)

    def send() -> str:
        try:
            response = client.get(f"http://127.0.0.1:{port}/models")
        except httpx.TransportError as error:
            return error_outcome(error, "httpx")
        return status_outcome(response.status_code)

    return send


def make_clients(port: int) -> list[SendRequest]:
    """Return several clients of each kind."""
    clients: list[SendRequest] = []
    for _ in range(CLIENTS_PER_KIND):
        clients += [
            PlainClient(port, keep_alive=True),
            PlainClient(port, keep_alive=False),
            PlainClient(port, keep_alive=True, in_halves=True),
            requests_client(port, keep_alive=True),
            requests_client(port, keep_alive=False),
            httpx_client(port),
        ]
    return clients


def run_round(outcomes: Outcomes, log: Path | None = None, **environ: str) -> float:
    """Run one round; return the duration of the shutdown in seconds."""
    with BackendProcess(log=log, **environ) as backend:
        backend.wait_until_ready()

        def send_until_refused(send: SendRequest) -> None:
            while True:
                outcome = send()
                if outcome == RESET:
                    outcome = "lost: reset" if listens(backend.port) else "refused"
                outcomes.add(outcome)
                if outcome == "refused":
                    return
                time.sleep(random.choice([0, 0, 0, 0.01, 0.3]))

        threads = [
            threading.Thread(target=send_until_refused, args=(client,))
            for client in make_clients(backend.port)
        ]
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0.2, 0.6))
        started = time.monotonic()
        backend.process.send_signal(signal.SIGTERM)
        status = backend.process.wait(timeout=20)
        duration = time.monotonic() - started
        for thread in threads:
            thread.join()
    if status != -signal.SIGTERM:
        outcomes.add(f"lost: the backend exited with {status}")
    return duration


def main() -> None:
    """Print one line per round, and the outcomes of all requests."""
    outcomes, longest = Outcomes(), 0.0
    for number in range(int(sys.argv[1])):
        longest = max(longest, run_round(outcomes, Path("/dev/null")))
        print(number + 1, dict(outcomes.counts), flush=True)
    print(f"longest shutdown {longest:.2f} s; lost {sum(outcomes.lost.values())}: {outcomes.lost}")


if __name__ == "__main__":
    main()
