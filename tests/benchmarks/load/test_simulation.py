import random
from typing import Any

import pytest

from benchmarks.load.simulated_instance import (
    InstanceConfig,
    Request,
    ServiceTimes,
    poisson_arrivals,
)
from benchmarks.load.simulation import Autoscaler, PlatformConfig, Run, Simulation


def run(requests: list[Request], seconds: float = 100, **platform: Any) -> Run:
    instance = InstanceConfig(queue_size=10**6, deadline=None)
    return Simulation(requests, seconds, instance, PlatformConfig(**platform)).run()


def at_once(number: int) -> list[Request]:
    return [Request(0.0, 1.0) for _ in range(number)]


def test_instances_receive_requests_in_turn() -> None:
    finished = run(at_once(6), min_instances=3, max_instances=3)
    assert [one.end for one in finished.requests] == [1, 1, 1, 2, 2, 2]


def test_least_loaded_instance_is_chosen() -> None:
    requests = [Request(0, 5.0), Request(0, 1.0), Request(2, 1.0), Request(3.2, 1.0)]
    run(requests, min_instances=2, max_instances=2, balancing="least-loaded")
    assert [one.end for one in requests] == [5, 1, 3, 4.2]


def test_random_balancing_uses_all_instances() -> None:
    requests = [Request(0.1 * number, 0.01) for number in range(100)]
    finished = run(requests, min_instances=3, max_instances=3, balancing="random")
    assert all(one.active_seconds > 1 for one in finished.instances)


def test_platform_sends_no_more_than_the_concurrency() -> None:
    finished = run(at_once(6), min_instances=2, max_instances=2, concurrency=1)
    assert [one.admitted for one in finished.requests] == [0, 0, 1, 1, 2, 2]


def test_request_that_waits_too_long_for_an_instance_is_refused() -> None:
    platform = {"min_instances": 1, "max_instances": 1, "concurrency": 1, "pending_seconds": 2.5}
    finished = run(at_once(6), **platform)
    assert [one.outcome for one in finished.requests] == ["served"] * 3 + ["no_instance"] * 3
    assert finished.requests[-1].end == 2.5


def test_first_request_waits_for_a_cold_start() -> None:
    finished = run(at_once(1), min_instances=0, concurrency=4, start_seconds=3.0)
    assert finished.requests[0].end == 4
    assert finished.instances[0].active_seconds == pytest.approx(4)  # the start is billed


def test_waiting_requests_start_instances_on_demand() -> None:
    platform = {"min_instances": 0, "max_instances": 5, "concurrency": 2, "start_seconds": 1.0}
    finished = run(at_once(6), seconds=1.9, **platform)
    assert len(finished.instances) == 3
    assert [one.in_flight for one in finished.instances] == [2, 2, 2]


def test_without_starts_on_demand_only_the_first_instance_starts_at_once() -> None:
    platform = {"min_instances": 0, "max_instances": 5, "concurrency": 2, "start_seconds": 1.0}
    finished = run(at_once(6), seconds=1.9, starts_on_demand=False, **platform)
    assert len(finished.instances) == 1


def test_instances_follow_the_load_and_all_requests_are_counted() -> None:
    service = ServiceTimes([0.1], "exponential")
    requests = list(poisson_arrivals([5, 40, 0, 0], 320, service, random.Random(1)))
    finished = run(
        requests, 320, min_instances=1, max_instances=30, concurrency=2, scale_down_delay=20
    )
    ready = [sample.ready for sample in finished.samples]
    assert max(ready[:5]) <= 4
    assert max(ready) >= 5
    assert ready[-1] == 1
    assert len(finished.requests) == len(requests)
    assert all(one.outcome == "served" for one in finished.requests)
    assert finished.instance_seconds < 320 * max(ready)


def observe(
    autoscaler: Autoscaler, start: float, end: float, in_flight: int, busy: int = 0
) -> None:
    now = start
    while now < end:
        now += 0.5
        autoscaler.observe(now, in_flight, busy)


def scaler(**platform: Any) -> Autoscaler:
    defaults = {"min_instances": 0, "max_instances": 100, "concurrency": 10, "target": 0.7}
    return Autoscaler(PlatformConfig(**defaults | platform), runners=1)


def test_autoscaler_keeps_the_concurrency_at_its_target() -> None:
    autoscaler = scaler()
    observe(autoscaler, 0, 60, in_flight=69)
    assert autoscaler.desired(60, ready=9) == 10


def test_autoscaler_keeps_the_cpu_at_its_target() -> None:
    autoscaler = scaler(cpu_target=0.6)
    observe(autoscaler, 0, 60, in_flight=7, busy=6)
    assert autoscaler.desired(60, ready=9) == 10


def test_burst_causes_panic_and_no_instance_is_stopped_in_it() -> None:
    autoscaler = scaler()
    observe(autoscaler, 0, 54, in_flight=7)
    observe(autoscaler, 54, 60, in_flight=70)
    assert autoscaler.desired(60, ready=1) == 10
    observe(autoscaler, 60, 100, in_flight=0)
    assert autoscaler.desired(100, ready=10) == 10
    observe(autoscaler, 100, 130, in_flight=0)
    assert autoscaler.desired(130, ready=10) == 5  # at most half of them at a time
    assert autoscaler.desired(132, ready=1) == 0


def test_scale_down_delay_keeps_instances() -> None:
    autoscaler = scaler(scale_down_delay=100)
    observe(autoscaler, 0, 60, in_flight=70)
    assert autoscaler.desired(60, ready=10) == 10
    observe(autoscaler, 60, 170, in_flight=0)
    assert autoscaler.desired(159, ready=10) == 10
    assert autoscaler.desired(170, ready=10) < 10


def test_number_of_instances_stays_within_its_limits() -> None:
    autoscaler = scaler(min_instances=2, max_instances=5)
    observe(autoscaler, 0, 10, in_flight=0)
    assert autoscaler.desired(10, ready=2) == 2
    observe(autoscaler, 10, 80, in_flight=500)
    assert autoscaler.desired(80, ready=2) == 5
