"""Find the knee of a service, and say how many instances a load takes.

python -m benchmarks.load                                        # a backend that it starts itself
python -m benchmarks.load --rate 500 --people Photographer
python -m benchmarks.load --people Visitor                       # starts the page, too
python -m benchmarks.load --host https://prism.example --rate 500

BACKEND_API_KEY is sent where a backend asks for a key; BACKEND_ID_TOKEN where it is private, and
FRONTEND_ID_TOKEN where the page is; a token has to last as long as the run. What is unknown here
goes to locust: `python -m benchmarks.load --max-p95 300 --step-seconds 20`.
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
from typing import Any

from benchmarks.load import constant_rate, host_cpu, images, local_services

Knee = dict[str, Any]

QUIET = 0.05  # share of the machine that others may take without a word

KINDS = {"Uploader": images.digits, "Photographer": images.photographs}  # for the check


def main(arguments: Sequence[str] | None = None) -> int:
    """Run locust and print what it found; its exit code, or 1 where nothing could be started."""
    given, rest = _parse(arguments)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # locust writes, too
    try:
        with ExitStack() as left:
            services = _started(given, left)
            found = Path(left.enter_context(tempfile.TemporaryDirectory(prefix="prism-load-")))
            return _run(given, rest, services, found / "knee.json")
    except local_services.StackError as error:
        print(error, file=sys.stderr)
        return 1


def _started(given: argparse.Namespace, left: ExitStack) -> dict[str, local_services.Service]:
    """Start what was asked for and not named, the backend and the page, and name it."""
    services = {}
    given.host = given.host.rstrip("/")
    if not given.host:
        services["backend"] = left.enter_context(local_services.backend())
        given.host = services["backend"].url
    local_services.reach(given.host)
    if "Visitor" in given.people and not given.frontend:
        services["page"] = left.enter_context(local_services.frontend(given.host))
        given.frontend = services["page"].url
    return services


def _run(
    given: argparse.Namespace,
    rest: Sequence[str],
    services: dict[str, local_services.Service],
    found: Path,
) -> int:
    given.html.parent.mkdir(parents=True, exist_ok=True)
    begin, before = host_cpu.Moment.now(), {name: one.used() for name, one in services.items()}
    code = _locust(given, found, rest)
    if not found.exists():
        return code
    end, after = host_cpu.Moment.now(), {name: one.used() for name, one in services.items()}
    told = json.loads(found.read_text())
    taken = [_tell_use(name, before[name], after[name], told["requests"]) for name in services]
    if begin and end and (share := host_cpu.share(begin, end, taken)) > QUIET:
        print(f"Other work took {100 * share:.0f} % of this machine meanwhile: it can do more.")
    if given.check and "backend" in services:
        _check(services["backend"], told["knee"], given.people)
    print(f"The report: {given.html}")
    return code


def _tell_use(
    name: str, before: local_services.Used | None, after: local_services.Used | None, requests: int
) -> float:
    """Say what a service took for so many requests; its seconds of CPU."""
    if before is None or after is None:
        return 0.0
    seconds = after.cpu - before.cpu
    print(
        f"The {name} itself: {1000 * seconds / max(1, requests):,.2f} ms of CPU a request; "
        f"{before.memory:,.0f} MB at rest, {after.most_memory:,.0f} MB at most."
    )
    return seconds


def _locust(given: argparse.Namespace, found: Path, rest: Sequence[str]) -> int:
    command = [sys.executable, "-m", "locust", "-f", str(local_services.ROOT / "locustfile.py")]
    command += ["--headless", "--only-summary", "--loglevel", "WARNING", "--find-knee"]
    command += [
        "--host",
        given.host,
        "--html",
        str(given.html.resolve()),
        "--knee-file",
        str(found),
    ]
    command += ["--frontend", given.frontend] if given.frontend else []
    command += ["--rate", str(given.rate)] if given.rate else []
    with tempfile.TemporaryFile("w+") as log:
        # Locust's own tables, which have all steps in one, would hide ours.
        done = subprocess.run([*command, *rest, *given.people], cwd=local_services.ROOT, stderr=log)
        if done.returncode and not found.exists():
            log.seek(0)
            sys.stderr.write(log.read())
    return done.returncode


def _check(service: local_services.Service, knee: Knee | None, people: Sequence[str]) -> None:
    kinds = [KINDS[name] for name in people if name in KINDS]
    if knee is None or len(kinds) != len(people):
        print(f"Nothing to check: that takes a knee, of {' or '.join(KINDS)}.")
        return
    print(
        constant_rate.check(service.port, knee["rate"], [one for kind in kinds for one in kind()])
    )


def _parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    first, *_, last = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(
        "python -m benchmarks.load", description=first, epilog=last, allow_abbrev=False
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
