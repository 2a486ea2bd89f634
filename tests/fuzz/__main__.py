"""Fuzz the parsers for some minutes; continue where the last run stopped.

make fuzz MINUTES=10
python -m tests.fuzz --minutes 10 --targets images,zips
python -m tests.fuzz --reproduce images .fuzz/findings/images-exception-0123456789ab.bin

Findings are written to FOLDER/findings, each with its input; the exit status is 1 if this run has
any. Further samples are read from the folder that PRISM_TEST_DATA names, if it exists.

Two fuzzers take turns: mutants of samples, and libFuzzer, which is guided by the code that an input
reaches (by atheris, where it is installed).
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.campaign import Campaign, TargetResult
from tests.fuzz.targets import TARGETS, stop
from tests.fuzz.worker import ROOT

UNGUIDED = ("heads", "heads-h11")  # the server runs in another thread
MAX_TURN_SECONDS = 20.0  # of one target, before the next
_IMAGE_FOLDERS = ("formats", "bad", "exif", "digits")  # in the folder of real data


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign and print a line for each target."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--minutes", type=float, default=10, help="for all targets together; each gets a turn"
    )
    parser.add_argument("--targets", help=f"some of {', '.join(TARGETS)}")
    parser.add_argument("--fuzzer", choices=("both", "mutants", "guided"), default="both")
    parser.add_argument("--folder", type=Path, default=ROOT / ".fuzz", help="state and findings")
    parser.add_argument(
        "--reproduce", nargs=2, metavar=("TARGET", "FILE"), help="run one input in this process"
    )
    options = parser.parse_args(arguments)
    if options.reproduce:
        return _reproduce(options.reproduce[0], Path(options.reproduce[1]))
    names = options.targets.split(",") if options.targets else list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"unknown targets: {', '.join(sorted(unknown))}")
    campaign = Campaign(options.folder, _sample_folders())
    seconds = options.minutes * 60
    end = time.monotonic() + seconds
    has_guided = find_spec("atheris") is not None
    if not has_guided and options.fuzzer != "mutants":
        print("atheris is not installed: only mutants of samples are used.")
    rounds = 2 if options.fuzzer == "both" and has_guided else 1
    turn = min(MAX_TURN_SECONDS, seconds / len(names) / rounds)
    is_guided = options.fuzzer == "guided"
    waiting = list(names)
    try:
        while time.monotonic() < end or len(campaign.results) < len(names):
            if not waiting:
                waiting = list(names)
                is_guided = not is_guided if options.fuzzer == "both" else is_guided
            name = campaign.next_target(waiting)
            waiting.remove(name)
            guided = is_guided and has_guided and name not in UNGUIDED
            campaign.run(name, max(min(turn, end - time.monotonic()), 0), guided=guided)
    except KeyboardInterrupt:
        print("Stopped; the next run continues from here.")
    for name, result in campaign.results.items():
        print(_line(name, result))
    return int(any(result.findings for result in campaign.results.values()))


def _sample_folders() -> list[Path]:
    data = Path(os.environ.get("PRISM_TEST_DATA", ROOT.parent / "shared" / "data"))
    return [data / name for name in _IMAGE_FOLDERS if (data / name).is_dir()]


def _reproduce(name: str, path: Path) -> int:
    """Run one input; a documented error is a success, any other ends with its traceback."""
    target = TARGETS[name]
    try:
        target.run(path.read_bytes())
    except target.errors as error:
        print(f"{type(error).__name__}: {error}")
    finally:
        stop()
    return 0


def _line(name: str, result: TargetResult) -> str:
    rate = result.inputs / max(result.seconds, 0.001)
    text = (
        f"{name:12} {result.inputs:9,} inputs  {rate:7,.0f}/s  {result.accepted:9,} accepted  "
        f"longest {result.max_seconds:.2f} s CPU  {result.max_mb:4.0f} MB"
    )
    for key, count in result.findings.items():
        text += f"\n{'':12} FOUND {count} x {key}"
    return text


if __name__ == "__main__":
    sys.exit(main())
