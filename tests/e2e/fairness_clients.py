"""Clients that send images continuously, some of them expensive, from addresses of 127/8."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

CLIENT_TIMEOUT = 30.0  # seconds
RETRY_DELAY = 0.05  # seconds after a rejection, although Retry-After asks for more


@dataclass
class Outcomes:
    """Statuses of responses by kind of client; thread-safe."""

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    retry_after_missing: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, status: int, retry_after: str | None) -> None:
        """Count a response; the status 0 is a broken connection."""
        with self._lock:
            self.statuses.setdefault(kind, Counter())[status] += 1
            self.retry_after_missing += status == 429 and not retry_after

    def success(self, kind: str) -> float:
        """Return the share of a kind of requests that were answered with 200."""
        statuses = self.statuses[kind]
        return statuses[200] / statuses.total()


class Sender:
    """Sends images one after the other, each on a new connection from its `address`."""

    def __init__(
        self,
        port: int,
        kind: str,
        images: Sequence[bytes],
        address: str = "127.0.0.1",
        pause: float = 0.0,
    ) -> None:
        self._port, self._kind, self._images = port, kind, images
        self._address, self._pause = address, pause

    def run(self, outcomes: Outcomes, end: float) -> None:
        """Send until `end`, in seconds of time.monotonic."""
        number = 0
        while time.monotonic() < end:
            status, retry_after = self._send(self._images[number % len(self._images)])
            outcomes.add(self._kind, status, retry_after)
            number += 1
            time.sleep(RETRY_DELAY if status == 429 else self._pause)

    def _send(self, image: bytes) -> tuple[int, str | None]:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=CLIENT_TIMEOUT, source_address=(self._address, 0)
        )
        with suppress(OSError, http.client.HTTPException):
            headers = {"Content-Type": "application/octet-stream", "Connection": "close"}
            connection.request("POST", "/classify", image, headers)
            response = connection.getresponse()
            response.read()
            connection.close()
            return response.status, response.getheader("Retry-After")
        connection.close()
        return 0, None


def run_senders(senders: Sequence[Sender], seconds: float) -> Outcomes:
    """Run all senders for `seconds` and return the outcomes."""
    outcomes, end = Outcomes(), time.monotonic() + seconds
    threads = [threading.Thread(target=each.run, args=(outcomes, end)) for each in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
