"""Clients that send requests through a load balancer continuously and record every outcome."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from urllib3 import encode_multipart_formdata

from tests.e2e.drain_loop import DIGIT_PNG
from tests.e2e.load_balancer import LoadBalancer

TIMEOUT = 60.0  # s


@dataclass(frozen=True)
class Success:
    """A request that the backend at `port` answered with 200."""

    id: str
    filename: str
    stored: bool
    port: int


@dataclass(frozen=True)
class Disconnect:
    """A request, sent at `started` (monotonic), whose connection broke before the response."""

    started: float
    port: int | None
    error: str


@dataclass
class RequestLog:
    """Outcomes of all requests; thread-safe."""

    successes: list[Success] = field(default_factory=list)
    drained: int = 0  # 503 responses of backends that shut down
    disconnects: list[Disconnect] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, outcome: Success | Disconnect | str | None) -> None:
        """Add an outcome; None is a 503 response of a backend that shuts down."""
        with self._changed:
            match outcome:
                case Success():
                    self.successes.append(outcome)
                case Disconnect():
                    self.disconnects.append(outcome)
                case str():
                    self.errors.append(outcome)
                case None:
                    self.drained += 1
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds."""
        with self._changed:
            assert self._changed.wait_for(condition, TIMEOUT), self.errors[:3]

    def wait_for_successes(self, number: int, *ports: int) -> None:
        """Wait for `number` further successes of each of the backends at `ports`."""
        before = {port: self.count(port) for port in ports}
        self.wait_for(lambda: all(self.count(port) >= before[port] + number for port in ports))

    def count(self, port: int) -> int:
        """Return the number of successes of the backend at `port`."""
        return sum(one.port == port for one in self.successes)


class LoadClients:
    """`number` clients, each of which sends one request after the other on new connections."""

    def __init__(self, number: int, balancer: LoadBalancer, request_log: RequestLog) -> None:
        self._balancer, self._request_log = balancer, request_log
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._send_requests, args=(str(name),))
            for name in range(number)
        ]

    def __enter__(self) -> "LoadClients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send_requests(self, name: str) -> None:
        number = 0
        while not self._stop.is_set():
            outcome = self._send_request(f"{name}-{number}.png")
            self._request_log.add(outcome)
            number += outcome is not None  # after a 503 the image is sent again

    def _send_request(self, filename: str) -> Success | Disconnect | str | None:
        body, content_type = encode_multipart_formdata({"file": (filename, DIGIT_PNG, "image/png")})
        connection = http.client.HTTPConnection("127.0.0.1", self._balancer.port, timeout=30)
        started, port = time.monotonic(), 0
        try:
            connection.connect()
            port = connection.sock.getsockname()[1]
            headers = {"Content-Type": content_type, "Connection": "close"}
            connection.request("POST", "/classify", body, headers)
            response = connection.getresponse()
            content = json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            return Disconnect(started, self._balancer.routes.get(port), repr(error))
        finally:
            connection.close()
        if response.status == 200:
            return Success(content["id"], filename, content["stored"], self._balancer.routes[port])
        if (response.status, content.get("code")) == (503, "draining"):
            return None
        return f"{response.status} {content}"
