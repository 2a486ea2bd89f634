"""Discrete-event model of a service: instances of the backend, a load balancer, an autoscaler.

All times are in seconds.
"""

import math
import random
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Literal

import simpy

from benchmarks.load.simulated_instance import Instance, InstanceConfig, Request

Events = Generator[simpy.Event, Any, None]
Balancing = Literal["round-robin", "random", "least-loaded"]

SAMPLES: Final = 20
SCRAPES: Final = 4  # measurements of the requests in flight between two evaluations
PANIC_THRESHOLD: Final = 2.0  # times the ready instances


@dataclass(frozen=True)
class PlatformConfig:
    """The limits of the platform, and its autoscaler, which follows the one of Knative.

    Its rules: https://knative.dev/docs/serving/autoscaling/kpa-specific. Cloud Run publishes only
    parts of its own: https://cloud.google.com/run/docs/about-instance-autoscaling.
    """

    min_instances: int = 1
    max_instances: int = 1
    concurrency: int | None = None  # requests in flight per instance; None: unlimited
    balancing: Balancing = "round-robin"
    start_seconds: float = 2.0  # of a cold start
    pending_seconds: float = 10.0  # for which a request waits for an instance, then it is refused
    target: float = 0.6  # share of `concurrency` that the autoscaler maintains
    cpu_target: float | None = None  # share of the runners' time that it maintains, too
    starts_on_demand: bool = True  # when requests wait, without the next evaluation
    scale_down_delay: float = 0.0
    tick: float = 2.0  # between two evaluations
    stable_window: float = 60.0
    panic_window: float = 6.0


@dataclass(frozen=True)
class Sample:
    """The state of the platform at one time."""

    at: float
    ready: int
    starting: int
    in_flight: int  # in instances that are not stopping
    pending: int  # requests that wait for an instance


@dataclass
class Run:
    """A finished simulation."""

    seconds: float
    requests: list[Request] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    @property
    def instance_seconds(self) -> float:
        """Seconds in which instances existed."""
        ends = (self.seconds if one.stopped is None else one.stopped for one in self.instances)
        return sum(end - one.created for end, one in zip(ends, self.instances, strict=True))


class Autoscaler:
    """Knative's: averages of the requests in flight over a stable window, or a panic window.

    With a `cpu_target`, also of the busy runners, of which an instance has `runners`.
    """

    def __init__(self, platform: PlatformConfig, runners: int) -> None:
        self._platform, self._runners = platform, runners
        self._target = platform.target * (platform.concurrency or 1)  # requests per instance
        self._observed: deque[tuple[float, int, int]] = deque()
        self._desired: deque[tuple[float, int]] = deque()
        self._panic_since: float | None = None
        self._panic_desired = 0

    def observe(self, now: float, in_flight: int, busy: int) -> None:
        """Add a measurement of the requests in flight and the busy runners."""
        self._observed.append((now, in_flight, busy))
        while self._observed[0][0] <= now - self._platform.stable_window:
            self._observed.popleft()

    def desired(self, now: float, ready: int) -> int:
        """Return the number of instances, given those that are ready."""
        platform = self._platform
        stable = self._instances_for(now - platform.stable_window)
        panic = self._instances_for(now - platform.panic_window)
        wanted = max(
            stable, self._instances_for_cpu(), ready // 2
        )  # at most half of them are stopped at a time
        if panic >= PANIC_THRESHOLD * max(ready, 1):
            self._panic_since = now
        elif self._panic_since is not None and now - self._panic_since > platform.stable_window:
            self._panic_since, self._panic_desired = None, 0
        if self._panic_since is not None:  # no instance is stopped
            self._panic_desired = max(self._panic_desired, panic, ready)
            wanted = max(wanted, self._panic_desired)
        self._desired.append((now, wanted))
        while self._desired[0][0] < now - platform.scale_down_delay:
            self._desired.popleft()
        wanted = max(number for _, number in self._desired)
        return min(max(wanted, platform.min_instances), platform.max_instances)

    def _instances_for(self, since: float) -> int:
        recent = [in_flight for at, in_flight, _ in self._observed if at > since]
        return math.ceil(sum(recent) / max(len(recent), 1) / self._target)

    def _instances_for_cpu(self) -> int:
        if self._platform.cpu_target is None:
            return 0
        busy = sum(busy for *_, busy in self._observed) / len(self._observed)
        return math.ceil(busy / (self._platform.cpu_target * self._runners))


class Simulation:
    """Sends `requests`, ordered by arrival, to instances for `seconds`."""

    def __init__(
        self,
        requests: Iterable[Request],
        seconds: float,
        instance: InstanceConfig,
        platform: PlatformConfig,
        seed: int = 0,
    ) -> None:
        self._env = simpy.Environment()
        self._run = Run(seconds)
        self._instance, self._platform = instance, platform
        self._rng = random.Random(seed)
        self._alive: list[Instance] = []  # not stopping, oldest first
        self._ready: list[Instance] = []
        self._pending: deque[Request] = deque()
        self._turns = count()
        for _ in range(platform.min_instances):
            self._start_instance(0.0)
        self._env.process(self._send(requests))
        self._env.process(self._sample())
        if platform.max_instances > platform.min_instances:
            self._env.process(self._scale())

    def run(self) -> Run:
        """Return the outcome; requests without an outcome are in flight at the end."""
        self._env.run(self._run.seconds)
        self._drop_late_pending()
        for instance in self._run.instances:
            instance.close_bill()
        return self._run

    def _send(self, requests: Iterable[Request]) -> Events:
        for request in requests:
            yield self._env.timeout(max(request.arrival - self._env.now, 0.0))
            self._run.requests.append(request)
            if self._pending or (instance := self._choose()) is None:
                self._pending.append(request)
                self._drop_late_pending()
                self._start_for_pending()
            else:
                instance.submit(request)

    def _choose(self) -> Instance | None:
        """Return an instance that can take a request."""
        ready, limit = self._ready, self._platform.concurrency
        if not ready:
            return None
        if self._platform.balancing == "least-loaded":
            best = min(ready, key=lambda one: one.in_flight)
            return best if limit is None or best.in_flight < limit else None
        is_random = self._platform.balancing == "random"
        start = self._rng.randrange(len(ready)) if is_random else next(self._turns)
        for offset in range(len(ready)):
            instance = ready[(start + offset) % len(ready)]
            if limit is None or instance.in_flight < limit:
                return instance
        return None

    def _add_ready(self, instance: Instance) -> None:
        self._ready.append(instance)
        self._take_pending(instance)

    def _take_pending(self, instance: Instance) -> None:
        if not self._pending:
            return
        limit = self._platform.concurrency
        self._drop_late_pending()
        while self._pending and instance.is_ready and (limit is None or instance.in_flight < limit):
            instance.submit(self._pending.popleft())

    def _drop_late_pending(self) -> None:
        wait = self._platform.pending_seconds
        while self._pending and self._pending[0].arrival + wait <= self._env.now:
            request = self._pending.popleft()
            request.end, request.outcome = request.arrival + wait, "no_instance"

    def _start_for_pending(self) -> None:
        starting = len(self._alive) - len(self._ready)
        if self._platform.starts_on_demand:
            missing = len(self._pending) > starting * (self._platform.concurrency or math.inf)
        else:
            missing = not self._alive
        if missing and len(self._alive) < self._platform.max_instances:
            self._start_instance(self._platform.start_seconds)

    def _start_instance(self, seconds: float) -> None:
        instance = Instance(self._env, self._instance, seconds, self._add_ready, self._take_pending)
        self._run.instances.append(instance)
        self._alive.append(instance)
        if instance.is_ready:
            self._ready.append(instance)

    def _stop_instance(self) -> None:
        instance = self._alive.pop()
        if instance.is_ready:
            self._ready.remove(instance)
        instance.stop()

    @property
    def _in_flight(self) -> int:
        return sum(one.in_flight for one in self._alive) + len(self._pending)

    def _sample(self) -> Events:
        """Record the state of the platform SAMPLES times."""
        while True:
            ready, in_flight = len(self._ready), self._in_flight - len(self._pending)
            starting = len(self._alive) - ready
            pending = len(self._pending)
            sample = Sample(self._env.now, ready, starting, in_flight, pending)
            self._run.samples.append(sample)
            yield self._env.timeout(self._run.seconds / SAMPLES)

    def _scale(self) -> Events:
        autoscaler = Autoscaler(self._platform, self._instance.runners)
        while True:
            for _ in range(SCRAPES):
                yield self._env.timeout(self._platform.tick / SCRAPES)
                busy = sum(one.busy for one in self._alive)
                autoscaler.observe(self._env.now, self._in_flight, busy)
            self._drop_late_pending()
            desired = autoscaler.desired(self._env.now, len(self._ready))
            while len(self._alive) < desired:
                self._start_instance(self._platform.start_seconds)
            while len(self._alive) > desired:
                self._stop_instance()
