"""Discrete-event model of an instance of the backend, and the requests that it receives.

It admits requests with the backend's own `Admission` and queues them in its own `FairQueue`. Its
runners take batches by the rule of `Batcher`. All times are in seconds.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import simpy

from backend.inference.admission import Admission, WorkRejectedError
from backend.inference.fair_queue import FairQueue
from backend.settings import Settings

Outcome = Literal["served", "queue_full", "too_slow", "deadline", "no_instance"]
Distribution = Literal["empirical", "exponential", "lognormal"]

BILLING_INTERVAL: Final = 0.1  # to which Cloud Run rounds the active time of an instance up
_DEFAULTS: Final = Settings.model_fields


@dataclass(frozen=True)
class ServiceTimes:
    """Service times: the `values` with equal probability, or a distribution with their mean."""

    values: Sequence[float]
    distribution: Distribution = "empirical"
    cv: float = 1.0  # standard deviation / mean of the lognormal distribution

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)

    def sample(self, rng: random.Random) -> float:
        """Return a random service time."""
        match self.distribution:
            case "exponential":
                return rng.expovariate(1 / self.mean)
            case "lognormal":
                variance = math.log(1 + self.cv**2)
                return rng.lognormvariate(math.log(self.mean) - variance / 2, math.sqrt(variance))
        return rng.choice(self.values)


@dataclass(slots=True)
class Request:
    """A request; the `outcome` is None while it is in flight."""

    arrival: float
    service: float
    client: int = 0
    admitted: float = math.nan
    end: float = math.nan
    outcome: Outcome | None = None


def poisson_arrivals(
    rates: Sequence[float],
    seconds: float,
    service: ServiceTimes,
    rng: random.Random,
    clients: int = 1,
) -> Iterator[Request]:
    """Yield requests of a Poisson process; each of `rates` (1/s) lasts an equal part of the run."""
    part = seconds / len(rates)
    for number, rate in enumerate(rates):
        now, end = number * part, (number + 1) * part
        while rate > 0 and (now := now + rng.expovariate(rate)) < end:
            yield Request(now, service.sample(rng), rng.randrange(clients))


@dataclass(frozen=True)
class InstanceConfig:
    """The limits of an instance; the defaults are those of the backend."""

    runners: int = 1  # batches that run concurrently
    max_batch: int = 1
    # A batch takes its longest service time plus the share 1 - batch_saving of each other one.
    batch_saving: float = 0.0
    queue_size: int = _DEFAULTS["queue_size"].default
    deadline: float | None = _DEFAULTS["timeout"].default
    typical_service: float = 0.05  # the backend's first estimate; it adapts to the measured pace


class Instance:
    """An instance that starts now, in `start_seconds`.

    `on_ready` is called when it has started, and `on_free` after each batch.
    """

    def __init__(
        self,
        env: simpy.Environment,
        config: InstanceConfig,
        start_seconds: float,
        on_ready: Callable[["Instance"], None],
        on_free: Callable[["Instance"], None],
    ) -> None:
        self.in_flight = 0
        self.is_ready = self.is_stopping = False
        self.stopped: float | None = None
        self.created = env.now
        self.active_seconds = start_seconds  # as billed; Cloud Run bills the start
        self._env, self._config = env, config
        self._on_ready, self._on_free = on_ready, on_free
        self._admission = Admission(config.queue_size, config.typical_service)
        self._queue: FairQueue[Request] = FairQueue()
        self._idle = config.runners
        self._unfinished: deque[Request] = deque()  # in the order of admission
        self._active_since = self._billed_until = 0.0
        if start_seconds:
            self._after(start_seconds, None, self._become_ready)
        else:
            self.is_ready = True

    @property
    def busy(self) -> int:
        """Number of runners that process a batch."""
        return self._config.runners - self._idle

    def submit(self, request: Request) -> None:
        """Queue a request, or refuse it as the backend does."""
        now = self._env.now
        self._expire(now)
        try:
            self._admission.require(self._config.deadline, request.client)
        except WorkRejectedError as error:
            request.end, request.outcome = now, error.reason
            return
        request.admitted = now
        self._admission.enter(now, request.client)
        if not self.in_flight:
            self._active_since = max(now, self._billed_until)
        self.in_flight += 1
        if self._config.deadline is not None:
            self._unfinished.append(request)
        self._queue.push(request, request.client)
        self._start_batches()

    def stop(self) -> None:
        """Take no more requests, and end when those in flight are finished."""
        self.is_stopping, self.is_ready = True, False
        if not self.in_flight:
            self.stopped = self._env.now

    def close_bill(self) -> None:
        """Add the active time until now, at the end of the simulation."""
        if self.in_flight:
            self._bill(self._env.now)

    def _become_ready(self, _: simpy.Event) -> None:
        if not self.is_stopping:
            self.is_ready = True
            self._on_ready(self)

    def _start_batches(self) -> None:
        """Give an idle runner a batch, as `Batcher._take_batch` does.

        The queue is empty while several runners are idle, so it is not divided among them.
        """
        while self._idle and self._queue:
            batch: list[Request] = []
            while self._queue and len(batch) < self._config.max_batch:
                is_late = self._queue.peek().outcome is not None
                request = self._queue.pop(free=is_late)
                if not is_late:
                    batch.append(request)
            if batch:
                self._idle -= 1
                self._after(self._duration(batch), batch, self._finish_batch)

    def _duration(self, batch: list[Request]) -> float:
        longest = max(request.service for request in batch)
        others = sum(request.service for request in batch) - longest
        return longest + (1 - self._config.batch_saving) * others

    def _finish_batch(self, event: simpy.Event) -> None:
        now = self._env.now
        self._expire(now)
        self._idle += 1
        batch: list[Request] = event.value or []
        for request in batch:
            if request.outcome is None:
                self._finish(request, now, "served")
        self._start_batches()
        self._on_free(self)

    def _expire(self, now: float) -> None:
        """Finish requests whose deadline has passed; all have the same time."""
        requests, deadline = self._unfinished, self._config.deadline
        while requests and deadline is not None:
            end = requests[0].admitted + deadline
            if requests[0].outcome is None:
                if end > now:
                    return
                self._finish(requests[0], end, "deadline")
            requests.popleft()

    def _finish(self, request: Request, now: float, outcome: Outcome) -> None:
        request.end, request.outcome = now, outcome
        self._admission.leave(now, request.client, served=outcome == "served")
        self.in_flight -= 1
        if not self.in_flight:
            self._bill(now)
            if self.is_stopping:
                self.stopped = now

    def _bill(self, now: float) -> None:
        if now > self._active_since:
            intervals = math.ceil((now - self._active_since) / BILLING_INTERVAL - 1e-9)
            self.active_seconds += intervals * BILLING_INTERVAL
            self._billed_until = self._active_since + intervals * BILLING_INTERVAL

    def _after(self, seconds: float, value: Any, callback: Callable[[simpy.Event], None]) -> None:
        event = self._env.timeout(seconds, value)
        assert event.callbacks is not None  # noqa: S101
        event.callbacks.append(callback)
