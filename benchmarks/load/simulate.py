"""Simulate a service of one or many instances under a load: latency, refusals, instances, cost.

python -m benchmarks.load.simulate --rate 40 --service-ms 50 --instances 3
python -m benchmarks.load.simulate --rate 20,200,20 --seconds 900 --service-ms 50 --max-instances 20
python -m benchmarks.load.simulate --rate 10 --service-file measured.txt --json

A run with --instances has a fixed number of instances without a platform that limits their
requests; otherwise an autoscaler starts and stops them. docs/scaling.md describes the model and
its validation.
"""

import argparse
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

from benchmarks.load.simulated_instance import (
    Distribution,
    InstanceConfig,
    ServiceTimes,
    poisson_arrivals,
)
from benchmarks.load.simulation import Balancing, PlatformConfig, Run, Simulation
from benchmarks.load.simulation_report import Cost, report, summarize, to_json

# Of deploy/backend.service.yaml.
CONCURRENCY, MAX_INSTANCES, CPUS, MEMORY_GIB = 16, 4, 1.0, 0.5

# What the autoscaler maintains: shares of the concurrency and of the CPUs; the seconds for which an
# unneeded instance is kept; whether a waiting request starts an instance at once.
PLATFORMS: Final[dict[str, dict[str, Any]]] = {
    "cloud-run": {
        "target": 0.6,
        "cpu_target": 0.6,
        "scale_down_delay": 900.0,
        "starts_on_demand": True,
    },
    "knative": {
        "target": 0.7,
        "cpu_target": None,
        "scale_down_delay": 0.0,
        "starts_on_demand": False,
    },
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options; exit with a message for an invalid one."""
    first, usage, last = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        "python -m benchmarks.load.simulate",
        description=first,
        epilog=f"{usage}\n\n{last}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    limits, platform = InstanceConfig(), PlatformConfig()
    group = parser.add_argument_group("load")
    text = "requests/s of a Poisson process; several, comma-separated, each last an equal time"
    group.add_argument("--rate", type=parse_numbers, required=True, help=text)
    _add(group, "seconds", 60.0, "duration of the run", minimum=1e-3)
    _add(group, "warm-up", 0.0, "seconds at the start whose requests are not counted")
    _add(group, "clients", 1000, "clients that send the requests; limits apply to each", minimum=1)
    _add(group, "seed", 0, "of the random numbers")

    group = parser.add_argument_group("instance")
    times = group.add_mutually_exclusive_group(required=True)
    text = "service time of an image in ms, or several values, comma-separated, equally likely"
    times.add_argument("--service-ms", type=parse_numbers, help=text)
    text = "file of measured service times in ms, separated by white space or commas"
    times.add_argument("--service-file", type=_read_numbers, dest="service_ms", help=text)
    text = "empirical: the given values; otherwise their mean"
    names = get_args(Distribution)
    group.add_argument("--distribution", choices=names, default="empirical", help=text)
    _add(group, "cv", 1.0, "standard deviation / mean of the lognormal distribution")
    _add(group, "overhead-ms", 0.0, "latency besides queue and service: network, HTTP")
    _add(group, "runners", limits.runners, "batches that run at a time: CPUs", minimum=1)
    _add(group, "max-batch", limits.max_batch, "images in a batch", minimum=1)
    text = "share of its service time that each further image of a batch saves, 0 to 1"
    _add(group, "batch-saving", limits.batch_saving, text, maximum=1)
    _add(group, "queue-size", limits.queue_size, "requests in flight, else 429", minimum=1)
    _add(group, "deadline", limits.deadline, "seconds until a request fails with 504; 0: none")

    group = parser.add_argument_group("platform")
    text = "fixed number of instances; sets --min-instances, --max-instances and --concurrency 0"
    _add(group, "instances", None, text, minimum=1, kind=int)
    _add(group, "min-instances", 0, "permanent instances")
    _add(group, "max-instances", MAX_INSTANCES, "most instances", minimum=1)
    text = "requests in flight per instance, above which the platform sends no more; 0: unlimited"
    _add(
        group, "concurrency", None, f"{text} (default: {CONCURRENCY}, with --instances 0)", kind=int
    )
    text = "defaults of --target and --scale-down-delay, and when instances start"
    group.add_argument("--platform", choices=PLATFORMS, default="cloud-run", help=text)
    _add(
        group, "target", None, "share of the concurrency that the autoscaler maintains", kind=float
    )
    _add(
        group,
        "scale-down-delay",
        None,
        "seconds for which an unneeded instance is kept",
        kind=float,
    )
    _add(group, "start-seconds", platform.start_seconds, "duration of a cold start")
    text = "seconds for which a request waits for an instance, then it is refused"
    _add(group, "pending-seconds", platform.pending_seconds, text)
    names = get_args(Balancing)
    group.add_argument("--balancing", choices=names, default=names[0], help="choice of an instance")

    group = parser.add_argument_group("output")
    _add(group, "cpus", CPUS, "of an instance, for the cost")
    _add(group, "memory-gib", MEMORY_GIB, "of an instance, for the cost")
    group.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return _complete(parser, parser.parse_args(arguments))


def simulate(options: argparse.Namespace) -> Run:
    """Run the simulation that the parsed `options` describe."""
    seconds = [ms / 1e3 for ms in options.service_ms]
    service = ServiceTimes(seconds, options.distribution, options.cv)
    instance = InstanceConfig(
        runners=options.runners,
        max_batch=options.max_batch,
        batch_saving=options.batch_saving,
        queue_size=options.queue_size,
        deadline=options.deadline or None,
        typical_service=service.mean,
    )
    platform = PlatformConfig(
        min_instances=options.min_instances,
        max_instances=options.max_instances,
        concurrency=options.concurrency or None,
        balancing=options.balancing,
        start_seconds=options.start_seconds,
        pending_seconds=options.pending_seconds,
        target=options.target,
        scale_down_delay=options.scale_down_delay,
        cpu_target=PLATFORMS[options.platform]["cpu_target"],
        starts_on_demand=PLATFORMS[options.platform]["starts_on_demand"],
    )
    rng = random.Random(options.seed)
    arrivals = poisson_arrivals(options.rate, options.seconds, service, rng, options.clients)
    return Simulation(arrivals, options.seconds, instance, platform, options.seed).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate and print the figures."""
    options = parse(arguments)
    run = simulate(options)
    summary = summarize(run, options.warm_up, options.overhead_ms / 1e3)
    cost = Cost.of(run, options.min_instances, options.cpus, options.memory_gib)
    print(
        to_json(vars(options), run, summary, cost) if options.json else report(run, summary, cost)
    )
    return 0


def _complete(parser: argparse.ArgumentParser, options: argparse.Namespace) -> argparse.Namespace:
    if options.instances:
        options.min_instances = options.max_instances = options.instances
    if options.min_instances > options.max_instances:
        parser.error("--min-instances must not exceed --max-instances")
    if options.concurrency is None:
        options.concurrency = 0 if options.instances else CONCURRENCY
    if not options.concurrency and options.min_instances < options.max_instances:
        parser.error("the autoscaler needs --concurrency: it maintains a share of it")
    for name in ("target", "scale_down_delay"):
        if getattr(options, name) is None:
            setattr(options, name, PLATFORMS[options.platform][name])
    if not 0 < options.target <= 1:
        parser.error("--target must be above 0 and at most 1")
    if options.warm_up >= options.seconds:
        parser.error("--warm-up must be shorter than --seconds")
    if not sum(options.service_ms) > 0:
        parser.error("the mean service time must be above 0")
    return options


def _add(
    group: argparse._ArgumentGroup,
    name: str,
    default: float | None,
    text: str,
    *,
    minimum: float = 0,
    maximum: float = math.inf,
    kind: type | None = None,
) -> None:
    """Add a numeric option; its type is that of `default` unless `kind` is given."""
    convert: type = kind or type(default)

    def parse_number(number: str) -> float:
        try:
            value: float = convert(number)
        except ValueError:
            value = math.nan
        if not (minimum <= value <= maximum and math.isfinite(value)):
            what = "an integer" if convert is int else "a number"
            end = f" and at most {maximum:g}" if maximum < math.inf else ""
            message = f"{number!r} is not {what} of at least {minimum:g}{end}"
            raise argparse.ArgumentTypeError(message)
        return value

    shown = "" if default is None else f" (default: {default:g})"
    group.add_argument(f"--{name}", type=parse_number, default=default, help=f"{text}{shown}")


def parse_numbers(text: str) -> list[float]:
    """Parse numbers of at least 0, separated by commas or white space."""
    try:
        values = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        values = []
    if not values or not all(0 <= value < math.inf for value in values):
        raise argparse.ArgumentTypeError("must be one or several numbers of at least 0")
    return values


def _read_numbers(path: str) -> list[float]:
    try:
        return parse_numbers(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"{path} cannot be read as text") from error
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{path} {error}") from error


if __name__ == "__main__":
    sys.exit(main())
