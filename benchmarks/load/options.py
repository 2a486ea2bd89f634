"""What a run of locust is told besides locust's own options, and what ends it with a failure."""

import json
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from locust import LoadTestShape
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.stats import RequestStats

from benchmarks.load.report import told
from benchmarks.load.saturation import Ascent, Limits
from benchmarks.load.step_load import Staircase


def add(parser: LocustArgumentParser) -> None:
    """Add the options; each can be given by an environment variable, too."""
    limits, ascent = Limits(), Ascent()
    group = parser.add_argument_group("Prism")

    def option(name: str, default: object, text: str, kind: type = float) -> None:
        variable = f"LOAD_{name.upper().replace('-', '_')}"
        help_text = f"{text} (default {default})" if default not in ("", None) else text
        group.add_argument(
            f"--{name}", type=kind, default=default, help=help_text, env_var=variable
        )

    option("frontend", "", "address of the page; without one nobody visits it", str)
    option("max-p95", limits.p95, "ms that 95 %% of the answers may take at most")
    option("max-failures", limits.failures, "share of requests that may fail, 0 to 1")
    group.add_argument(
        "--find-knee",
        action="store_true",
        env_var="LOAD_FIND_KNEE",
        help="raise the users until more of them do not help; --users and --run-time do not count",
    )
    option("growth", limits.growth, "share by which each step has to raise the rate")
    option("first-users", ascent.first, "users of the first step", int)
    option("factor", ascent.factor, "users of a step by those of the one before")
    option("most-users", ascent.most, "users at most", int)
    option("settle", 2.0, "seconds at the start of a step that do not count")
    option("step-seconds", 8.0, "seconds of a step that count")
    option("rate", None, "requests/s to say the instances for")
    option("headroom", 1.3, "instances by what is needed on average")
    option("knee-file", "", "JSON file for the steps and the knee", str)


class Shape(LoadTestShape):
    """The staircase as locust wants it."""

    abstract = True  # locust would else take it for the load of every run

    def __init__(self, stairs: Staircase) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stairs = stairs

    def tick(self) -> tuple[int, float] | None:
        """What to do now; locust asks once a second."""
        return self._stairs.tick()


class Judge:
    """Looks for the knee where that was asked for, and sets the exit code of the run."""

    def __init__(self, environment: Environment) -> None:
        assert environment.runner is not None  # noqa: S101
        assert environment.parsed_options is not None  # noqa: S101
        self._environment = environment
        self._stats: RequestStats = environment.runner.stats
        self._given = given = environment.parsed_options
        self._ascent: Ascent | None = None
        if given.find_knee:
            limits = Limits(given.max_p95, given.max_failures, given.growth)
            self._ascent = Ascent(limits, given.first_users, given.factor, given.most_users)
            stairs = Staircase(
                self._ascent, lambda: self._stats.total, given.settle, given.step_seconds
            )
            environment.shape_class = Shape(stairs)
            environment.shape_class.runner = environment.runner

    def conclude(self) -> None:
        """Say what was found, and set the exit code: 0, or 1 with the reason."""
        problems = (
            self._of_steps(self._ascent) if self._ascent else too_much(self._stats, self._given)
        )
        out = sys.stderr if self._given.json else sys.stdout  # which is JSON then, and nothing else
        for problem in problems:
            print(f"Too much: {problem}", file=out)
        for error in sorted(self._stats.errors.values(), key=lambda one: -one.occurrences)[:3]:
            print(f"  {error.occurrences:,} x {error.name}: {error.error}", file=out)
        assert self._environment.runner is not None  # noqa: S101
        exceptions = self._environment.runner.exceptions.values()
        for one in exceptions:
            print(f"The load test itself failed {one['count']:,} x: {one['msg']}", file=out)
        self._environment.process_exit_code = int(bool(problems or exceptions))

    def _of_steps(self, ascent: Ascent) -> list[str]:
        given = self._given
        print(told(ascent, given.rate, given.headroom))
        if given.knee_file:
            write(ascent, self._stats.total.num_requests, Path(given.knee_file))
        return [] if ascent.knee else ["the first steps have not kept the limits"]


def too_much(stats: RequestStats, given: Namespace) -> list[str]:
    """Say which limits a run has not kept: failures of all requests, p95 of each kind."""
    problems = []
    total = stats.total
    if not total.num_requests:
        return ["no request was answered"]
    if total.fail_ratio > given.max_failures:
        problems.append(
            f"{100 * total.fail_ratio:.1f} % of {total.num_requests:,} requests failed; "
            f"{100 * given.max_failures:g} % may"
        )
    for entry in stats.entries.values():
        p95 = entry.get_response_time_percentile(0.95)
        if p95 > given.max_p95:
            problems.append(f"{entry.name}: p95 is {p95:,.0f} ms; {given.max_p95:,g} ms is allowed")
    return problems


def write(ascent: Ascent, requests: int, path: Path) -> None:
    """Keep the steps, the knee (null: none) and the number of all requests as JSON."""
    found = {
        "requests": requests,
        "steps": [asdict(step) for step in ascent.steps],
        "knee": asdict(ascent.knee) if ascent.knee else None,
    }
    path.write_text(json.dumps(found, indent=1))
