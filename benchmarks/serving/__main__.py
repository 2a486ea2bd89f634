"""Run scenarios and print a Markdown table of the figures.

make bench ARGS='--only digits --rounds 3 --seconds 4'
make bench ARGS='--systems prism,raw --only resnet50,mobilenet'
make bench ARGS='--against main~5 --only digits'
"""

import argparse
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from benchmarks.serving import against, charts, report, results, servers, systems
from benchmarks.serving.assets import RESULTS, ROOT
from benchmarks.serving.machine import commit, describe_machine
from benchmarks.serving.measurement import Options
from benchmarks.serving.profiles import profile_missed
from benchmarks.serving.results import Result
from benchmarks.serving.scenarios import OPTIONAL, SCENARIOS, Scenario

_DOCUMENT = ROOT / "docs" / "performance.md"
_CHARTS = ROOT / "docs" / "images"
_WATTS = 4.0  # of a busy core: the TDP of current server processors by their cores, 3 to 5 W
_BY_NAME = MappingProxyType({scenario.name: scenario for scenario in SCENARIOS})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected scenarios; return 1 if one failed or is a regression, otherwise 0."""
    args = _parse(arguments)
    options = Options(args.rounds, args.seconds, args.warm, frozenset(args.systems))
    servers.delete_prism_data()
    return _compare(args, options) if args.against else _measure(args, options)


def _measure(args: argparse.Namespace, options: Options) -> int:
    """Measure Prism and its peers; save each scenario as soon as it is finished."""
    measured: list[Result] = []
    has_failed = False
    for scenario in args.only or [one for one in SCENARIOS if one.name not in OPTIONAL]:
        if args.resume and _is_saved(scenario, args):
            _log(f"{scenario.name} has figures of this commit and is left out")
            continue
        try:
            found = scenario.run(options, _log)
            profile = []
            if args.profile:
                profile = profile_missed(scenario, found.figures, options, _log)
        except Exception as error:  # the other scenarios still run
            _log(f"{scenario.name} failed: {error}")
            traceback.print_exc()
            has_failed = True
            continue
        result = Result(
            *(scenario.name, args.rounds, args.seconds, describe_machine()),
            *(found.figures, found.curves, commit(), profile),
        )
        measured.append(result)
        if args.write:
            results.save(result, RESULTS)
            _write_document(args.watts)
    print(report.render_report(measured, args.watts))
    return int(has_failed)


def _is_saved(scenario: Scenario, args: argparse.Namespace) -> bool:
    saved = results.load([scenario.name], RESULTS)
    key = (args.rounds, args.seconds, commit())
    return any((one.rounds, one.seconds, one.commit) == key for one in saved)


def _write_document(watts: float) -> None:
    """Write the saved figures of all scenarios and their charts into the documentation."""
    saved = results.load([scenario.name for scenario in SCENARIOS], RESULTS)
    drawn = charts.write_charts(saved, _CHARTS)
    images = [f"![{path.stem.replace('-', ' ')}](images/{path.name})" for path in drawn]
    report.update_document(_DOCUMENT, "\n\n".join([*images, report.render_report(saved, watts)]))


def _compare(args: argparse.Namespace, options: Options) -> int:
    """Compare with another revision; return 1 for a regression or a failure."""
    changes: list[against.Change] = []
    has_failed = False
    try:
        with against.checkout(args.against) as base:
            for scenario in args.only or [_BY_NAME[name] for name in against.DEFAULT]:
                try:
                    changes += against.compare(
                        scenario, base, replace(options, systems=frozenset()), _log
                    )
                except Exception as error:  # the other scenarios still run
                    _log(f"{scenario.name} failed: {error}")
                    traceback.print_exc()
                    has_failed = True
    except against.RevisionError as error:
        print(error, file=sys.stderr)
        return 2
    print(against.render(changes, args.against))
    return int(has_failed or any(one.verdict == "regression" for one in changes))


def _log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.serving",
        description="Compare Prism with other servers and with the limits of this machine.",
    )
    option = parser.add_argument
    known = [one.name for one in systems.ALL] + [systems.RAW]
    option(
        "--only",
        type=_scenarios,
        default=[],
        metavar="SCENARIO,...",
        help=f"scenarios to run: {', '.join(_BY_NAME)} (default: all but {', '.join(OPTIONAL)})",
    )
    option(
        "--systems",
        type=lambda text: _choice(text, known),
        default=[],
        metavar="SYSTEM,...",
        help=f"systems to measure (default: all): {', '.join(known)}",
    )
    option("--rounds", type=int, default=5, help="rounds of each scenario (default: %(default)s)")
    option(
        "--seconds",
        type=float,
        default=2.0,
        help="measured duration of each load in seconds (default: %(default)g)",
    )
    option(
        "--warm",
        type=float,
        default=0.5,
        metavar="SECONDS",
        help="warm-up before each measurement in seconds (default: %(default)g)",
    )
    option("--write", action="store_true", help="save the figures and update docs/performance.md")
    option(
        "--resume",
        action="store_true",
        help="leave out scenarios with saved figures of this commit, rounds and seconds",
    )
    option(
        "--profile",
        action="store_true",
        help="sample Prism with py-spy for each row that misses its target",
    )
    option(
        "--against",
        metavar="REVISION",
        help="compare Prism with this git revision of it instead of with peers; exit with 1 if "
        f"it became slower by more than {100 * against.TOLERANCE:.0f}%% "
        f"(default scenarios: {', '.join(against.DEFAULT)})",
    )
    option(
        "--watts",
        type=float,
        default=_WATTS,
        help="power of a busy core for the energy proxy (default: %(default)g)",
    )
    return parser.parse_args(arguments)


def _scenarios(text: str) -> list[Scenario]:
    return [_BY_NAME[name] for name in _choice(text, list(_BY_NAME))]


def _choice(text: str, known: Sequence[str]) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
