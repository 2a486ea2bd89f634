"""Find the knee of a service, and say how many instances a load takes.

python -m load                                        # a backend that it starts itself
python -m load --rate 500 --people Photographer
python -m load --people Visitor                       # starts the page, too
python -m load --host https://prism.example --rate 500

What is unknown here goes to locust: `python -m load --max-p95 300 --step-seconds 20`.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from load import check, pictures, stack

KINDS = {"Uploader": pictures.digits, "Photographer": pictures.photographs}  # for the check


def main(arguments: Sequence[str] | None = None) -> int:
    """Run locust and print what it found; its exit code, or 1 where nothing could be started."""
    given, rest = _parse(arguments)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # locust writes, too
    given.html.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as left:
        try:
            service = None if given.host else left.enter_context(stack.backend())
            host = service.url if service else given.host.rstrip("/")
            stack.reach(host)
            page = given.frontend
            if "Visitor" in given.people and not page:
                if not service:
                    print("Where is the page? Say --frontend URL.", file=sys.stderr)
                    return 1
                page = left.enter_context(stack.frontend(host)).url
        except stack.StackError as error:
            print(error, file=sys.stderr)
            return 1
        folder = left.enter_context(tempfile.TemporaryDirectory(prefix="prism-load-"))
        found = Path(folder) / "knee.json"
        at_rest = service.used() if service else None
        code = _locust(given, host, page, found, rest)
        if service and at_rest and (loaded := service.used()) and found.exists():
            requests = json.loads(found.read_text())["requests"]
            milliseconds = 1000 * (loaded.cpu - at_rest.cpu) / max(1, requests)
            print(
                f"The backend itself: {milliseconds:,.2f} ms of CPU a request; "
                f"{at_rest.memory:,.0f} MB at rest, {loaded.most_memory:,.0f} MB at most."
            )
        if given.check and service and found.exists():
            _check(service, found, given.people)
    print(f"The report: {given.html}")
    return code


def _locust(
    given: argparse.Namespace, host: str, page: str, found: Path, rest: Sequence[str]
) -> int:
    command = [sys.executable, "-m", "locust", "-f", str(stack.ROOT / "locustfile.py")]
    command += ["--headless", "--only-summary", "--loglevel", "WARNING", "--find-knee"]
    command += ["--host", host, "--html", str(given.html.resolve()), "--knee-file", str(found)]
    command += ["--frontend", page] if page else []
    command += ["--rate", str(given.rate)] if given.rate else []
    with tempfile.TemporaryFile("w+") as log:
        # Locust's own tables, which have all steps in one, would hide ours.
        done = subprocess.run([*command, *rest, *given.people], cwd=stack.ROOT, stderr=log)  # noqa: S603
        if done.returncode and not found.exists():
            log.seek(0)
            sys.stderr.write(log.read())
    return done.returncode


def _check(service: stack.Service, found: Path, people: Sequence[str]) -> None:
    knee = json.loads(found.read_text())["knee"]
    kinds = [KINDS[name] for name in people if name in KINDS]
    if knee is None or len(kinds) != len(people):
        print(f"Nothing to check: that takes a knee, of {' or '.join(KINDS)}.")
        return
    print(check.check(service.port, knee["rate"], [one for kind in kinds for one in kind()]))


def _parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        "python -m load", description=lines[0], epilog=lines[-1], allow_abbrev=False
    )
    parser.add_argument("--host", default="", help="backend that runs; none: one is started")
    parser.add_argument("--frontend", default="", help="page that runs, for Visitor")
    parser.add_argument(
        "--people",
        type=lambda text: text.split(","),
        default=["Uploader"],
        help="who takes part, by the names in locustfile.py, comma-separated (default Uploader)",
    )
    parser.add_argument("--rate", type=float, help="requests/s to say the instances for")
    parser.add_argument(
        "--check",
        action="store_true",
        help="ask at 80, 100 and 120 %% of the knee at a constant rate (where it is started here)",
    )
    parser.add_argument(
        "--html", type=Path, default=Path("load-report.html"), help="where the report goes"
    )
    return parser.parse_known_args(arguments)


def _end(*_: object) -> None:
    raise KeyboardInterrupt  # so that what was started here is stopped, too


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
