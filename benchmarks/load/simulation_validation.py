"""Runs of backends whose service time is a sleep, and the same runs in the simulation.

The simulation receives the measured times of the requests, their service times, and two measured
figures: by how much a sleep is too long, and the latency besides queue and service. It computes
what follows from them: waiting times, refusals and throughput.
"""

import asyncio
import json
import math
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass, replace
from typing import Final

from benchmarks.load import local_services, sleeping_backend
from benchmarks.load.simulated_instance import InstanceConfig, Request
from benchmarks.load.simulation import PlatformConfig, Simulation
from benchmarks.load.simulation_report import summarize
from benchmarks.serving.open_loop import schedule
from benchmarks.serving.stats import quantile

SMALL_SHARE: Final = 0.1  # of refused requests, up to which the deviation is absolute
_CALIBRATION_REQUESTS: Final = 15  # one after the other
_MIN_LONE: Final = 10  # requests of a run that did not wait, from which the overhead is measured
_TIMEOUT: Final = 60.0
# A run is not valid if other programs delay more than this share of its requests by more than this
# share of the mean service time.
_MAX_DELAYED, _DELAY = 0.05, 0.1
_MAX_DISCARDED: Final = 3


@dataclass(frozen=True)
class Scenario:
    """Service times of one kind, and a load."""

    service: str  # its name
    levels: tuple[int, ...]  # gray levels of the images, equally likely
    instances: int
    load: float  # share of the capacity


@dataclass(frozen=True)
class Figures:
    """What is compared. Latencies are those of served requests, in ms."""

    throughput: float  # served requests per second
    p50: float
    p95: float
    refused: float  # share of the requests; those that missed their deadline included


@dataclass(frozen=True)
class Comparison:
    """The figures of one run."""

    measured: Figures
    simulated: Figures
    delayed: float  # share of requests that were sent late, or whose sleep was too long
    discarded: int = 0  # runs before this one

    @property
    def is_valid(self) -> bool:
        """Whether other programs left the processors idle enough."""
        return self.delayed <= _MAX_DELAYED


@dataclass(frozen=True)
class Response:
    """A request to the backend `number`, and its response. Times are in seconds."""

    number: int
    due: float
    sent: float
    end: float
    status: int
    service: float  # nominal
    inference: float  # duration of the forward pass; NaN unless the status is 200

    @property
    def overhead(self) -> float:
        """The latency besides the service, if the request did not wait."""
        return self.end - self.sent - self.inference

    def is_delayed(self, seconds: float, is_single: bool = True) -> bool:
        """Return whether it was sent `seconds` late or, unless in a batch, its sleep too long."""
        is_slow = is_single and self.inference - self.service > seconds
        return is_slow or self.sent - self.due > seconds


class SleepingBackends:
    """Backends on local ports, and the service times in seconds of the gray levels."""

    def __init__(
        self, service: Sequence[float], ports: Sequence[int], instance: InstanceConfig
    ) -> None:
        self._service, self._ports, self._instance = service, ports, instance
        self._images = [sleeping_backend.make_image(level) for level in range(len(service))]

    def compare(self, scenario: Scenario, warm_up: float, seconds: float, seed: int) -> Comparison:
        """Measure and simulate `seconds` of a Poisson process after a warm-up.

        A run that is not valid is repeated up to three times.
        """
        discarded = 0
        comparison = self._compare(scenario, warm_up, seconds, seed)
        while not comparison.is_valid and discarded < _MAX_DISCARDED:
            discarded += 1
            comparison = self._compare(scenario, warm_up, seconds, seed)
        return replace(comparison, discarded=discarded)

    def _compare(self, scenario: Scenario, warm_up: float, seconds: float, seed: int) -> Comparison:
        rng = random.Random(seed)
        mean = statistics.mean(self._service[level] for level in scenario.levels)
        rate = scenario.load * scenario.instances * self._instance.runners / mean
        times = schedule(rate, warm_up + seconds, seed)
        levels = [rng.choice(scenario.levels) for _ in times]
        calibration, responses = asyncio.run(self._run(scenario.instances, times, levels))
        alone = find_lone_requests(responses)
        overhead = [each.overhead for each in (alone if len(alone) >= _MIN_LONE else calibration)]
        excess = [each.inference - each.service for each in responses if each.status == 200]
        is_single = self._instance.max_batch == 1  # else the duration is that of a batch
        if not is_single or not excess:
            excess = [each.inference - each.service for each in calibration]
        mean_excess = statistics.mean(excess)
        requests = [Request(each.sent, each.service + mean_excess) for each in responses]
        number = scenario.instances
        platform = PlatformConfig(min_instances=number, max_instances=number)
        run = Simulation(requests, warm_up + seconds, self._instance, platform).run()
        found = summarize(run, warm_up, statistics.median(overhead))
        p50, p95 = found.latency_ms["p50"], found.latency_ms["p95"]
        return Comparison(
            figures_of(responses, warm_up, seconds),
            Figures(found.throughput, p50, p95, found.refused_share),
            statistics.mean(each.is_delayed(_DELAY * mean, is_single) for each in responses),
        )

    async def _run(
        self, instances: int, times: Sequence[float], levels: Sequence[int]
    ) -> tuple[list[Response], list[Response]]:
        """Return the responses to requests one after the other, and to those at `times`."""
        calibration = [
            await self._send(0, 0.0, levels[0], time.perf_counter())
            for _ in range(_CALIBRATION_REQUESTS)
        ]
        begin = time.perf_counter()
        sending = [
            self._send(index % instances, at, level, begin)
            for index, (at, level) in enumerate(zip(times, levels, strict=True))
        ]
        responses = await asyncio.gather(*sending)
        return calibration, sorted(responses, key=lambda each: each.sent)

    async def _send(self, number: int, at: float, level: int, begin: float) -> Response:
        """Send an image on a new connection, `at` seconds after `begin`."""
        await asyncio.sleep(begin + at - time.perf_counter())
        reader, writer = await asyncio.open_connection("127.0.0.1", self._ports[number])
        image = self._images[level]
        head = (
            "POST /classify HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: image/png\r\nContent-Length: {len(image)}\r\n\r\n"
        )
        sent = time.perf_counter()
        writer.write(head.encode() + image)
        async with asyncio.timeout(_TIMEOUT):
            response = await reader.read()
        end = time.perf_counter()
        writer.close()
        status = int(response[9:12])
        inference = math.nan
        if status == 200:
            content = json.loads(response.partition(b"\r\n\r\n")[2])
            inference = content["timings_ms"]["inference"] / 1e3
        service = self._service[level]
        return Response(number, at, sent - begin, end - begin, status, service, inference)


@contextmanager
def start_backends(
    number: int, service_ms: Sequence[float], instance: InstanceConfig
) -> Iterator[SleepingBackends]:
    """Start backends with the limits of `instance`; raise ServiceError if one does not start."""
    settings = {
        sleeping_backend.VARIABLE: json.dumps(service_ms),
        "PRISM_HISTORY": "false",
        "PRISM_MEASURE": "false",
        "PRISM_LOG_LEVEL": "warning",
        "PRISM_THREADS": str(instance.runners),
        "PRISM_MAX_BATCH": str(instance.max_batch),
        "PRISM_QUEUE_SIZE": str(instance.queue_size),
        "PRISM_TIMEOUT": str(instance.deadline),
    }
    seconds = [ms / 1e3 for ms in service_ms]
    # The backend's first estimate is the time of a blank image.
    instance = replace(instance, typical_service=seconds[0])
    with ExitStack() as stack:
        services = [
            stack.enter_context(
                local_services.start_backend("benchmarks.load.sleeping_backend", settings)
            )
            for _ in range(number)
        ]
        yield SleepingBackends(seconds, [one.port for one in services], instance)


def find_lone_requests(responses: Sequence[Response]) -> list[Response]:
    """Return the served requests that were sent while their backend had none in flight."""
    free_at: dict[int, float] = {}
    alone = []
    for each in responses:
        if each.sent >= free_at.get(each.number, 0.0) and each.status == 200:
            alone.append(each)
        free_at[each.number] = max(free_at.get(each.number, 0.0), each.end)
    return alone


def figures_of(responses: Sequence[Response], warm_up: float, seconds: float) -> Figures:
    """Return the figures of the requests after the warm-up, as `summarize` does."""
    end = warm_up + seconds
    finished = [each for each in responses if each.end <= end]
    counted = [each for each in finished if each.sent >= warm_up]
    latencies = [1e3 * (each.end - each.sent) for each in counted if each.status == 200]
    return Figures(
        sum(each.status == 200 and each.end >= warm_up for each in finished) / seconds,
        quantile(latencies, 0.5),
        quantile(latencies, 0.95),
        sum(each.status != 200 for each in counted) / max(len(counted), 1),
    )


def deviations(rounds: Sequence[Comparison]) -> Figures:
    """Return the relative deviations of the medians over the rounds; see `SMALL_SHARE`."""
    real, model = medians(rounds)
    return Figures(
        _relative_deviation(model.throughput, real.throughput),
        _relative_deviation(model.p50, real.p50),
        _relative_deviation(model.p95, real.p95),
        abs(model.refused - real.refused) / max(real.refused, SMALL_SHARE),
    )


def _relative_deviation(model: float, real: float) -> float:
    """Return infinity if there is no figure to compare with, because no request was served."""
    return abs(model / real - 1) if real > 0 and model > 0 else math.inf


def medians(rounds: Sequence[Comparison]) -> tuple[Figures, Figures]:
    """Return the medians over the rounds, measured and simulated."""
    measured = zip(*(astuple(each.measured) for each in rounds), strict=True)
    simulated = zip(*(astuple(each.simulated) for each in rounds), strict=True)
    return Figures(*map(statistics.median, measured)), Figures(*map(statistics.median, simulated))
