"""Run scenarios and print a Markdown table of the figures.

make bench ARGS='--only digits --rounds 3 --seconds 4'
make bench ARGS='--systems prism,raw --only resnet50,mobilenet'
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.serving import results, servers, systems
from benchmarks.serving.assets import RESULTS, ROOT
from benchmarks.serving.machine import describe_machine
from benchmarks.serving.measurement import Options
from benchmarks.serving.results import Result
from benchmarks.serving.scenarios import SCENARIOS, Scenario

_DOCUMENT = ROOT / "docs" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected scenarios; return 1 if one of them failed, otherwise 0."""
    args = _parse(arguments)
    options = Options(args.rounds, args.seconds, args.warm, frozenset(args.systems))
    measured: list[Result] = []
    has_failed = False
    servers.delete_prism_data()
    for scenario in args.only or SCENARIOS:
        try:
            figures = scenario.run(options, _log)
        except (servers.ServerError, subprocess.CalledProcessError, OSError) as error:
            _log(f"{scenario.name} failed: {error}")
            has_failed = True
            continue
        result = Result(scenario.name, args.rounds, args.seconds, describe_machine(), figures)
        measured.append(result)
        if args.write:
            results.save(result, RESULTS)
    if args.write:
        saved = results.load([scenario.name for scenario in SCENARIOS], RESULTS)
        results.update_document(_DOCUMENT, _report(saved))
    print(_report(measured))
    return int(has_failed)


def _report(measured: Sequence[Result]) -> str:
    """Return the table, followed by the machine and the commands of the measurement."""
    figures = [figure for result in measured for figure in result.figures]
    machines = list(dict.fromkeys(result.machine for result in measured))
    commands = [
        f"make bench ARGS='--only {one.scenario} --rounds {one.rounds} --seconds {one.seconds:g}'"
        for one in measured
    ]
    lines = [results.render_table(figures), ""]
    lines += [f"Measured on {machine}, with:" for machine in machines]
    return "\n".join([*lines, "", "```bash", *commands, "```"])


def _log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.serving",
        description="Compare Prism with other servers and with the limits of this machine.",
    )
    option = parser.add_argument
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    known = [one.name for one in systems.ALL] + [systems.RAW]
    option(
        "--only",
        type=_scenarios,
        default=[],
        metavar="SCENARIO,...",
        help=f"scenarios to run (default: all): {names}",
    )
    option(
        "--systems",
        type=lambda text: _choice(text, known),
        default=[],
        metavar="SYSTEM,...",
        help=f"systems to measure (default: all): {', '.join(known)}",
    )
    option("--rounds", type=int, default=3, help="rounds of each scenario (default: %(default)s)")
    option(
        "--seconds",
        type=float,
        default=5.0,
        help="measured duration of each load in seconds (default: %(default)g)",
    )
    option(
        "--warm",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="warm-up before each measurement in seconds (default: %(default)g)",
    )
    option("--write", action="store_true", help="save the figures and update docs/performance.md")
    return parser.parse_args(arguments)


def _scenarios(text: str) -> list[Scenario]:
    chosen = _choice(text, [scenario.name for scenario in SCENARIOS])
    return [scenario for scenario in SCENARIOS if scenario.name in chosen]


def _choice(text: str, known: Sequence[str]) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
