"""Compare the simulation with backends whose service time is a sleep.

python -m benchmarks.load.validate_simulation
python -m benchmarks.load.validate_simulation --service-ms 35,90 --instances 1,2 --rounds 5

Backends (benchmarks/load/sleeping_backend.py) receive requests of a Poisson process in turn. The
simulation receives the times at which they were sent, and their service times. The time by which a
sleep is too long and the latency of HTTP are measured in the same run, from requests that did not
wait, or before the run if all waited. A run is repeated if other programs delayed more than 5% of
its requests by more than 10% of the mean service time.

The exit status is 1 if a median over the rounds deviates by more than 10%: throughput, median and
95th percentile of the latency, and the share of refused requests (of which below 10%, by more than
one percentage point). It is 3 if that happens only in runs that were still delayed after repeats.
"""

import argparse
import random
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from typing import Final

from benchmarks.load import local_services, sleeping_backend
from benchmarks.load.simulate import parse_numbers
from benchmarks.load.simulated_instance import InstanceConfig, ServiceTimes
from benchmarks.load.simulation_validation import (
    Comparison,
    Scenario,
    deviations,
    medians,
    start_backends,
)

MAX_DEVIATION: Final = 0.1
TOO_BUSY: Final = 3  # exit status


def service_times(options: argparse.Namespace) -> dict[str, list[float]]:
    """Return service times in ms by name: constants, and samples of lognormal distributions."""
    times = {f"{ms:g}": [ms] for ms in options.service_ms}
    for mean in options.lognormal_ms:
        name = f"{mean:g} lognormal"
        number = (sleeping_backend.MAX_VALUES - len(times)) // len(options.lognormal_ms)
        rng = random.Random(f"{name} {options.seed}")
        distribution = ServiceTimes([mean], "lognormal", options.cv)
        times[name] = [distribution.sample(rng) for _ in range(number)]
    return times


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare all scenarios; return the exit status."""
    options = _parse(arguments)
    times = service_times(options)
    service_ms, scenarios = list[float](), list[Scenario]()
    for name, values in times.items():
        levels = tuple(range(len(service_ms), len(service_ms) + len(values)))
        service_ms += values
        scenarios += [
            Scenario(name, levels, instances, load)
            for instances in options.instances
            for load in options.load
        ]
    outcomes: dict[Scenario, list[Comparison]] = {}
    instance = InstanceConfig(
        options.runners,
        options.max_batch,
        queue_size=options.queue_size,
        deadline=options.deadline,
    )
    try:
        with start_backends(max(options.instances), service_ms, instance) as backends:
            for number in range(options.rounds):
                for scenario in scenarios:
                    seed = options.seed + number
                    outcome = backends.compare(scenario, options.warm_up, options.seconds, seed)
                    outcomes.setdefault(scenario, []).append(outcome)
                    if options.verbose:
                        cells = "  ".join(_cells(scenario, [outcome]))
                        note = f"delayed {outcome.delayed:.1%}, repeated {outcome.discarded}"
                        print(f"{scenario.service}  {cells}  {note}", flush=True)
    except local_services.ServiceError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(_table(outcomes)))
    deviating = [
        each for each in outcomes.values() if max(astuple(deviations(each))) > MAX_DEVIATION
    ]
    if any(_is_valid(each) for each in deviating):
        return 1
    return TOO_BUSY if deviating else 0


def _is_valid(rounds: Sequence[Comparison]) -> bool:
    return all(each.is_valid for each in rounds)


def _table(outcomes: Mapping[Scenario, Sequence[Comparison]]) -> Iterator[str]:
    yield "Measured / simulated, medians over the rounds, and the largest deviation:"
    columns = ("instances", "load", "served/s", "p50, ms", "p95, ms", "refused", "deviation")
    yield f"{'service, ms':<16}" + "  ".join(f"{name:>15}" for name in columns)
    for scenario, rounds in outcomes.items():
        cells = _cells(scenario, rounds)
        line = "  ".join(f"{cell:>15}" for cell in cells)
        yield f"{scenario.service:<16}{line}{'' if _is_valid(rounds) else '  not valid: delayed'}"
    discarded = sum(each.discarded for rounds in outcomes.values() for each in rounds)
    yield f"Runs that other programs delayed and that were repeated: {discarded}"


def _cells(scenario: Scenario, rounds: Sequence[Comparison]) -> Iterator[str]:
    real, model = medians(rounds)
    yield str(scenario.instances)
    yield f"{scenario.load:.0%}"
    yield f"{real.throughput:.1f} / {model.throughput:.1f}"
    yield f"{real.p50:.0f} / {model.p50:.0f}"
    yield f"{real.p95:.0f} / {model.p95:.0f}"
    yield f"{real.refused:.1%} / {model.refused:.1%}"
    yield f"{max(astuple(deviations(rounds))):.1%}"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    first, *rest = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        "python -m benchmarks.load.validate_simulation",
        description=first,
        epilog="\n\n".join(rest),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    option = parser.add_argument
    numbers, integers = parse_numbers, _parse_integers
    option("--service-ms", type=numbers, default=[50.0, 120.0], help="constant service times")
    option("--lognormal-ms", type=numbers, default=[80.0], help="means of lognormal service times")
    option("--cv", type=float, default=1.0, help="standard deviation / mean of these")
    option("--instances", type=integers, default=[1, 3], help="numbers of backends")
    option("--load", type=numbers, default=[0.7, 1.5], help="rates, as shares of the capacity")
    option("--rounds", type=int, default=3, help="interleaved; the medians are compared")
    option("--warm-up", type=float, default=8.0, help="seconds of a run that are not measured")
    option("--seconds", type=float, default=20.0, help="measured seconds of a run")
    option("--runners", type=int, default=1, help="threads of a backend that sleep")
    option("--max-batch", type=int, default=1, help="images in a batch")
    option("--queue-size", type=int, default=32, help="PRISM_QUEUE_SIZE of the backends")
    option("--deadline", type=float, default=1.5, help="PRISM_TIMEOUT of the backends")
    option("--seed", type=int, default=1, help="of the random numbers")
    option("--verbose", action="store_true", help="print each run as it ends")
    options = parser.parse_args(arguments)
    if 0 in options.service_ms + options.lognormal_ms + options.load + options.instances:
        parser.error("service times, loads and numbers of instances must be above 0")
    return options


def _parse_integers(text: str) -> list[int]:
    return [int(number) for number in parse_numbers(text)]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt  # stops the backends


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
