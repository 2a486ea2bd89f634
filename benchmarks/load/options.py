"""Additional Locust options, and the criteria by which a run fails."""

import json
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from locust import LoadTestShape
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.stats import RequestStats

from benchmarks.load.report import format_report
from benchmarks.load.saturation import Limits, SaturationSearch
from benchmarks.load.step_load import StepLoad


def add_options(parser: LocustArgumentParser) -> None:
    """Add the options; each can also be set by an environment variable LOAD_*."""
    limits, search = Limits(), SaturationSearch()
    group = parser.add_argument_group("Prism")

    def option(name: str, default: object, text: str, kind: type = float) -> None:
        variable = f"LOAD_{name.upper().replace('-', '_')}"
        help_text = f"{text} (default {default})" if default not in ("", None) else text
        settings = {"type": kind, "default": default, "help": help_text, "env_var": variable}
        group.add_argument(f"--{name}", **settings)

    option("frontend", "", "URL of the frontend; without it, Visitor is not used", str)
    option("max-p95", limits.p95, "maximum 95th percentile of the latency in ms")
    option("max-failures", limits.failures, "maximum share of failed requests, 0 to 1")
    group.add_argument(
        "--find-saturation",
        action="store_true",
        env_var="LOAD_FIND_SATURATION",
        help="increase the users up to the saturation point; ignores --users and --run-time",
    )
    option("growth", limits.growth, "share by which each step must increase the rate")
    option("first-users", search.first_users, "users of the first step", int)
    option("factor", search.factor, "ratio of the users of consecutive steps")
    option("most-users", search.max_users, "maximum number of users", int)
    option("settle", 2.0, "seconds at the start of a step that are not measured")
    option("step-seconds", 8.0, "seconds of a step that are measured")
    option("rate", None, "requests/s for which to compute the number of instances")
    option("headroom", 1.3, "ratio of instances to the average demand")
    option("saturation-file", "", "JSON file for the steps and the saturation point", str)


class StepLoadShape(LoadTestShape):
    """Adapts `StepLoad` to Locust."""

    abstract = True  # otherwise, Locust would use it for every run

    def __init__(self, step_load: StepLoad) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._step_load = step_load

    def tick(self) -> tuple[int, float] | None:
        """Return the users and the spawn rate; called once per second."""
        return self._step_load.tick()


class RunEvaluator:
    """Searches for the saturation point if requested, and sets the exit code of the run."""

    def __init__(self, environment: Environment) -> None:
        assert environment.runner is not None  # noqa: S101
        assert environment.parsed_options is not None  # noqa: S101
        self._environment = environment
        self._stats: RequestStats = environment.runner.stats
        self._options = options = environment.parsed_options
        self._search: SaturationSearch | None = None
        if options.find_saturation:
            limits = Limits(options.max_p95, options.max_failures, options.growth)
            users = (options.first_users, options.factor, options.most_users)
            self._search = SaturationSearch(limits, *users)
            seconds = (options.settle, options.step_seconds)
            step_load = StepLoad(self._search, lambda: self._stats.total, *seconds)
            environment.shape_class = StepLoadShape(step_load)
            environment.shape_class.runner = environment.runner

    def finish(self) -> None:
        """Print the result and set the exit code: 0, or 1 with the reasons."""
        if self._search:
            problems = self._report_search(self._search)
        else:
            problems = find_violations(self._stats, self._options)
        out = sys.stderr if self._options.json else sys.stdout  # stdout is only JSON with --json
        for problem in problems:
            print(f"Limit exceeded: {problem}", file=out)
        for error in sorted(self._stats.errors.values(), key=lambda one: -one.occurrences)[:3]:
            print(f"  {error.occurrences:,} x {error.name}: {error.error}", file=out)
        assert self._environment.runner is not None  # noqa: S101
        exceptions = self._environment.runner.exceptions.values()
        for one in exceptions:
            print(f"Error in the load test ({one['count']:,} x): {one['msg']}", file=out)
        self._environment.process_exit_code = int(bool(problems or exceptions))

    def _report_search(self, search: SaturationSearch) -> list[str]:
        options = self._options
        print(format_report(search, options.rate, options.headroom))
        if options.saturation_file:
            path = Path(options.saturation_file)
            write_result(search, self._stats.total.num_requests, path)
        return [] if search.saturation else ["in the first steps"]


def find_violations(stats: RequestStats, options: Namespace) -> list[str]:
    """Return the exceeded limits: failures of all requests, p95 of each kind of request."""
    problems, total = [], stats.total
    if not total.num_requests:
        return ["no request was completed"]
    if total.fail_ratio > options.max_failures:
        problems.append(
            f"{total.fail_ratio:.1%} of {total.num_requests:,} requests failed "
            f"(limit: {100 * options.max_failures:g}%)"
        )
    for entry in stats.entries.values():
        p95 = entry.get_response_time_percentile(0.95)
        if p95 > options.max_p95:
            problems.append(f"{entry.name}: p95 is {p95:,.0f} ms (limit: {options.max_p95:,g} ms)")
    return problems


def write_result(search: SaturationSearch, requests: int, path: Path) -> None:
    """Write the steps, the saturation point (or null) and the number of requests as JSON."""
    result = {
        "requests": requests,
        "steps": [asdict(step) for step in search.steps],
        "saturation": asdict(search.saturation) if search.saturation else None,
    }
    path.write_text(json.dumps(result, indent=1))
