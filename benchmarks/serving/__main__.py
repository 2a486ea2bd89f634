"""Measure, and print a table.

.venv-benchmarks/serving/bin/python -m benchmarks.serving --only digits --rounds 3 --seconds 4
.venv-benchmarks/serving/bin/python -m benchmarks.serving --systems prism,raw --only resnet50,mobilenet
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.serving import servers, systems, table
from benchmarks.serving.machine import describe
from benchmarks.serving.measurement import Options
from benchmarks.serving.paths import RESULTS, ROOT
from benchmarks.serving.results import Result, keep, kept
from benchmarks.serving.scenarios import SCENARIOS, Scenario

_PAGE = ROOT / "docs" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 0, or 1 where a scenario could not be measured."""
    given = _parse(arguments)
    options = Options(given.rounds, given.seconds, given.warm, frozenset(given.systems))
    results, failed = [], False
    servers.forget()
    for scenario in given.only or SCENARIOS:
        try:
            figures = scenario.run(options, _say)
        except (servers.ServerError, subprocess.CalledProcessError, OSError) as error:
            _say(f"{scenario.name} failed: {error}")
            failed = True
            continue
        result = Result(scenario.name, given.rounds, given.seconds, describe(), figures)
        results.append(result)
        if given.write:
            keep(result, RESULTS)
    if given.write:
        everything = kept([scenario.name for scenario in SCENARIOS], RESULTS)
        table.insert(_PAGE, _report(everything))
    print(_report(results))
    return int(failed)


def _report(results: Sequence[Result]) -> str:
    """The table, and below it what it was measured on and how."""
    figures = [figure for result in results for figure in result.figures]
    machines = list(dict.fromkeys(result.machine for result in results))
    commands = [
        f"make bench ARGS='--only {one.scenario} --rounds {one.rounds} --seconds {one.seconds:g}'"
        for one in results
    ]
    lines = [table.render(figures), ""]
    lines += [f"Measured on {machine}, by:" for machine in machines]
    return "\n".join([*lines, "", "```bash", *commands, "```"])


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.serving", description="Measure Prism, its peers and the machine."
    )
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    known = [one.name for one in systems.ALL] + [systems.RAW]
    parser.add_argument(
        "--only", type=_scenarios, default=[], help=f"of these, comma-separated: {names}"
    )
    parser.add_argument(
        "--systems",
        type=lambda text: _choice(text, known),
        default=[],
        help=f"of these, comma-separated: {', '.join(known)}",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="that count, of each load")
    parser.add_argument("--warm", type=float, default=2.0, help="seconds of load before them")
    parser.add_argument(
        "--write", action="store_true", help="keep the figures and put them into the documentation"
    )
    return parser.parse_args(arguments)


def _scenarios(text: str) -> list[Scenario]:
    chosen = _choice(text, [scenario.name for scenario in SCENARIOS])
    return [scenario for scenario in SCENARIOS if scenario.name in chosen]


def _choice(text: str, known: Sequence[str]) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
