"""SIGTERM under load, again and again: what became of every request.

python -m tests.e2e.drain_loop 100

Each round starts a backend, lets clients of several kinds ask it without pause, sends SIGTERM in
the midst of it and lets them ask on until they are refused a connection.
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

DIGIT = next(iter(sorted((ROOT / "frontend" / "examples").glob("*.png")))).read_bytes()
CLEAN = {200, 429, 503}
KINDS = 3  # clients of each kind
RESET = "reset"

Ask = Callable[[], str]


class Outcomes:
    """How often each outcome was met, by any thread."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, outcome: str) -> None:
        """Count one."""
        with self._lock:
            self.counts[outcome] += 1

    @property
    def lost(self) -> dict[str, int]:
        """Those that no client should meet."""
        return {name: count for name, count in self.counts.items() if name.startswith("lost")}


def of_status(status: int) -> str:
    """What a response counts as."""
    return f"{status}" if status in CLEAN else f"lost: status {status}"


def outcome_of(error: Exception, library: str) -> str:
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


class Plain:
    """The standard library's client: it hides nothing and tries nothing twice."""

    def __init__(self, port: int, *, keep: bool, halves: bool = False) -> None:
        self._port = port
        self._keep = keep
        self._halves = halves
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self) -> str:
        """Send one picture."""
        connection = self._connection
        is_new = False
        if connection is not None and select.select([connection.sock], [], [], 0)[0]:
            connection.close()  # closed while it was idle, and seen so before anything was sent
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
            return f"lost: {'keeping' if self._keep else 'one-shot'} {type(error).__name__}"

    def _send(self, connection: http.client.HTTPConnection) -> str:
        connection.putrequest("POST", "/classify")
        connection.putheader("Content-Type", "image/png")
        connection.putheader("Content-Length", str(len(DIGIT)))
        connection.endheaders()
        if self._halves:
            connection.send(DIGIT[:100])
            time.sleep(random.uniform(0, 0.2))
        connection.send(DIGIT[100:] if self._halves else DIGIT)
        response = connection.getresponse()
        response.read()
        stays = self._keep and connection.sock is not None
        self._connection = connection if stays else None
        if not stays:
            connection.close()
        return of_status(response.status)


def of_requests(port: int, *, keep: bool) -> Ask:
    """A client of the library requests."""
    session = requests.Session()

    def ask() -> str:
        if not keep:
            session.close()
        try:
            answer = session.post(f"http://127.0.0.1:{port}/classify", files={"file": DIGIT})
        except requests.ConnectionError as error:
            return outcome_of(error, "requests")
        return of_status(answer.status_code)

    session.trust_env = False
    return ask


def of_httpx(port: int) -> Ask:
    """A client of the library httpx."""
    client = httpx.Client(trust_env=False, timeout=20)

    def ask() -> str:
        try:
            answer = client.get(f"http://127.0.0.1:{port}/models")
        except httpx.TransportError as error:
            return outcome_of(error, "httpx")
        return of_status(answer.status_code)

    return ask


def clients(port: int) -> list[Ask]:
    """Some of every kind."""
    found: list[Ask] = []
    for _ in range(KINDS):
        found += [
            Plain(port, keep=True),
            Plain(port, keep=False),
            Plain(port, keep=True, halves=True),
            of_requests(port, keep=True),
            of_requests(port, keep=False),
            of_httpx(port),
        ]
    return found


def one_round(outcomes: Outcomes, log: Path | None = None, **environ: str) -> float:
    """Start, load, end; how many seconds the end took."""
    with BackendProcess(log=log, **environ) as backend:
        backend.wait_until_ready()

        def ask_on(ask: Ask) -> None:
            while True:
                outcome = ask()
                if outcome == RESET:
                    outcome = "lost: reset" if listens(backend.port) else "refused"
                outcomes.note(outcome)
                if outcome == "refused":
                    return
                time.sleep(random.choice([0, 0, 0, 0.01, 0.3]))

        threads = [threading.Thread(target=ask_on, args=(one,)) for one in clients(backend.port)]
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0.2, 0.6))
        started = time.monotonic()
        backend.process.send_signal(signal.SIGTERM)
        status = backend.process.wait(timeout=20)
        spent = time.monotonic() - started
        for thread in threads:
            thread.join()
    if status != -signal.SIGTERM:
        outcomes.note(f"lost: the backend ended with {status}")
    return spent


def main() -> None:
    """Print a line a round and what became of all requests."""
    outcomes, longest = Outcomes(), 0.0
    for number in range(int(sys.argv[1])):
        longest = max(longest, one_round(outcomes, Path("/dev/null")))
        print(number + 1, dict(outcomes.counts), flush=True)
    print(f"longest end {longest:.2f} s; lost {sum(outcomes.lost.values())}: {outcomes.lost}")


if __name__ == "__main__":
    main()
