import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks.load.simulated_instance import (
    InstanceConfig,
    Request,
    ServiceTimes,
    poisson_arrivals,
)
from benchmarks.load.simulation import PlatformConfig, Run, Simulation

UNLIMITED: dict[str, Any] = {"queue_size": 10**9, "deadline": None}


def run(requests: Sequence[Request], config: InstanceConfig, seconds: float = 1e9) -> Run:
    """Send requests to one instance."""
    return Simulation(requests, seconds, config, PlatformConfig()).run()


def queueing_run(service: ServiceTimes, load: float, number: int, runners: int = 1) -> Run:
    """Send about `number` requests of a Poisson process to an instance with unlimited queue."""
    rate = load * runners / service.mean
    seconds = number / rate
    requests = list(poisson_arrivals([rate], seconds, service, random.Random(5)))
    return run(requests, InstanceConfig(runners=runners, queue_size=10**9, deadline=None))


def mean_latency(finished: Run) -> float:
    latencies = [one.end - one.arrival for one in finished.requests]
    return sum(latencies) / len(latencies)


def erlang_c(servers: int, load: float) -> float:
    """Return the probability that a request waits, in M/M/c."""
    offered = servers * load
    waiting = offered**servers / math.factorial(servers) / (1 - load)
    others = sum(offered**k / math.factorial(k) for k in range(servers))
    return waiting / (waiting + others)


def test_exponential_service_has_the_latency_of_mm1() -> None:
    finished = queueing_run(ServiceTimes([0.1], "exponential"), load=0.5, number=8000)
    assert mean_latency(finished) == pytest.approx(0.1 / (1 - 0.5), rel=0.06)


def test_constant_service_has_the_latency_of_md1() -> None:
    finished = queueing_run(ServiceTimes([0.1]), load=0.6, number=6000)
    assert mean_latency(finished) == pytest.approx(0.1 + 0.6 * 0.1 / (2 * (1 - 0.6)), rel=0.04)


def test_lognormal_service_has_the_latency_of_mg1() -> None:
    finished = queueing_run(ServiceTimes([0.1], "lognormal"), load=0.5, number=8000)
    expected = 0.1 + 0.5 * 0.1 * (1 + 1) / (2 * (1 - 0.5))  # Pollaczek-Khinchine
    assert mean_latency(finished) == pytest.approx(expected, rel=0.07)


def test_several_runners_have_the_latency_of_mmc() -> None:
    finished = queueing_run(ServiceTimes([0.1], "exponential"), load=0.6, number=8000, runners=3)
    expected = 0.1 + erlang_c(3, 0.6) * 0.1 / (3 * (1 - 0.6))
    assert mean_latency(finished) == pytest.approx(expected, rel=0.05)


def test_service_times_have_their_mean_and_variation() -> None:
    rng = random.Random(1)
    values = [ServiceTimes([0.2, 0.4], "lognormal", 0.5).sample(rng) for _ in range(5000)]
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    assert mean == pytest.approx(0.3, rel=0.03)
    assert deviation / mean == pytest.approx(0.5, rel=0.06)
    assert {ServiceTimes([1.0, 2.0]).sample(rng) for _ in range(20)} == {1.0, 2.0}


def test_every_rate_lasts_an_equal_part_of_the_run() -> None:
    requests = list(poisson_arrivals([0, 100, 10], 30, ServiceTimes([1.0]), random.Random(1)))
    parts = Counter(int(one.arrival // 10) for one in requests)
    assert parts[0] == 0
    assert parts[1] == pytest.approx(1000, rel=0.1)
    assert parts[2] == pytest.approx(100, rel=0.3)


def test_every_request_is_served_refused_late_or_in_flight() -> None:
    service = ServiceTimes([0.05], "lognormal", 2)
    requests = list(poisson_arrivals([30], 30, service, random.Random(3), clients=2))
    finished = run(requests, InstanceConfig(queue_size=16, deadline=0.6), seconds=30)
    counts = Counter(one.outcome for one in finished.requests)
    assert len(finished.requests) == len(requests)
    assert {"served", "queue_full", "too_slow", "deadline", None} == set(counts)
    assert counts[None] == finished.instances[0].in_flight


def burst(number: int, service: float = 1.0) -> list[Request]:
    """Return requests of one client at almost the same time."""
    return [Request(1e-6 * index, service) for index in range(number)]


def test_one_client_may_hold_three_quarters_of_the_places() -> None:
    finished = run(burst(20), InstanceConfig(queue_size=16, deadline=None))
    outcomes = [one.outcome for one in finished.requests]
    assert outcomes == ["served"] * 12 + ["queue_full"] * 8


def test_request_whose_wait_exceeds_most_of_its_deadline_is_refused() -> None:
    config = InstanceConfig(deadline=5, typical_service=1.0)
    finished = run(burst(8), config)
    outcomes = [one.outcome for one in finished.requests]
    assert outcomes == ["served"] * 5 + ["too_slow"] * 3  # waits of 0 to 4 s, and above 80%


def test_request_that_takes_too_long_fails_at_its_deadline() -> None:
    slow, next_one = Request(0, 4.0), Request(1.0, 0.5)
    run([slow, next_one], InstanceConfig(deadline=2, typical_service=0.1))
    assert (slow.outcome, slow.end) == ("deadline", 2)
    assert (next_one.outcome, next_one.end) == ("deadline", 3)  # the runner was still busy


def test_request_after_late_ones_is_served() -> None:
    requests = [Request(0, 4.0), Request(1.0, 0.5), Request(3.5, 0.5)]
    run(requests, InstanceConfig(deadline=2, typical_service=0.1))
    assert (requests[2].outcome, requests[2].end) == ("served", 4.5)  # the late one costs nothing


def test_requests_that_arrive_during_a_batch_are_the_next_batch() -> None:
    finished = run(burst(6), InstanceConfig(max_batch=4, **UNLIMITED))
    assert [round(one.end) for one in finished.requests] == [1, 5, 5, 5, 5, 6]


def test_batch_saves_a_share_of_the_service_time_of_further_images() -> None:
    config = InstanceConfig(max_batch=4, batch_saving=0.75, **UNLIMITED)
    finished = run(burst(5), config)
    assert finished.requests[-1].end == pytest.approx(1 + 1 + 3 * 0.25)


def test_runner_that_is_free_first_takes_the_queue() -> None:
    slow = [Request(0, 1.0), Request(0, 1.0)]
    waiting = [Request(0.5, 1.0) for _ in range(4)]
    finished = run([*slow, *waiting], InstanceConfig(runners=2, max_batch=4, **UNLIMITED))
    assert [one.end for one in finished.requests] == [1, 1, 5, 5, 5, 5]


def test_client_with_few_requests_does_not_wait_for_another_client() -> None:
    many = burst(10)
    single = Request(0.5, 1.0, client=1)
    run([*many, single], InstanceConfig(**UNLIMITED))
    assert single.end == 2
