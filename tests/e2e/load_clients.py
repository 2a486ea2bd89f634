"""Clients that ask through a balancer without pause, and keep an account of every request."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from urllib3 import encode_multipart_formdata

from tests.e2e.load_balancer import LoadBalancer
from tests.e2e.drain_loop import DIGIT

PATIENCE = 60.0  # s


@dataclass(frozen=True)
class Answered:
    """A request that was answered with 200, by the backend on `port`."""

    id: str
    filename: str
    stored: bool
    port: int


@dataclass(frozen=True)
class Broken:
    """A request that began at `begun` (monotonic), and whose connection broke before the answer."""

    begun: float
    port: int | None
    error: str


@dataclass
class RequestLog:
    """What came of all requests, by any thread."""

    answered: list[Answered] = field(default_factory=list)
    sent_on: int = 0  # told by a backend that ends to ask again
    broken: list[Broken] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _change: threading.Condition = field(default_factory=threading.Condition)

    def note(self, outcome: Answered | Broken | str | None) -> None:
        """Take in one; None: it was sent on."""
        with self._change:
            match outcome:
                case Answered():
                    self.answered.append(outcome)
                case Broken():
                    self.broken.append(outcome)
                case str():
                    self.failed.append(outcome)
                case None:
                    self.sent_on += 1
            self._change.notify_all()

    def wait(self, until: Callable[[], bool]) -> None:
        """Wait until enough has come of it."""
        with self._change:
            assert self._change.wait_for(until, PATIENCE), self.failed[:3]

    def wait_for_answers(self, number: int, *ports: int) -> None:
        """Wait for so many more answers from each of the backends on these ports."""
        before = {port: self.number(port) for port in ports}
        self.wait(lambda: all(self.number(port) >= before[port] + number for port in ports))

    def number(self, port: int) -> int:
        """Answers that the backend on `port` has given."""
        return sum(one.port == port for one in self.answered)


class LoadClients:
    """So many clients; each asks, waits for the answer, and asks again on a new connection."""

    def __init__(self, number: int, balancer: LoadBalancer, account: RequestLog) -> None:
        self._balancer, self._account = balancer, account
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask_on, args=(str(name),)) for name in range(number)
        ]

    def __enter__(self) -> "LoadClients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self, name: str) -> None:
        number = 0
        while not self._over.is_set():
            outcome = self._ask(f"{name}-{number}.png")
            self._account.note(outcome)
            number += outcome is not None  # what was sent on is asked again, of the next

    def _ask(self, filename: str) -> Answered | Broken | str | None:
        body, kind = encode_multipart_formdata({"file": (filename, DIGIT, "image/png")})
        connection = http.client.HTTPConnection("127.0.0.1", self._balancer.port, timeout=30)
        begun, port = time.monotonic(), 0
        try:
            connection.connect()
            port = connection.sock.getsockname()[1]
            headers = {"Content-Type": kind, "Connection": "close"}
            connection.request("POST", "/classify", body, headers)
            response = connection.getresponse()
            told = json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            return Broken(begun, self._balancer.ways.get(port), repr(error))
        finally:
            connection.close()
        if response.status == 200:
            return Answered(told["id"], filename, told["stored"], self._balancer.ways[port])
        if (response.status, told.get("code")) == (503, "draining"):
            return None
        return f"{response.status} {told}"
