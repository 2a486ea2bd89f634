"""Find the saturation point of a service, and the number of instances that a load requires.

python -m benchmarks.load                                        # starts a backend
python -m benchmarks.load --rate 500 --people Photographer
python -m benchmarks.load --people Visitor                       # starts the frontend too
python -m benchmarks.load --host https://prism.example --rate 500

BACKEND_API_KEY is sent if the backend requires a key, BACKEND_ID_TOKEN if it is private, and
FRONTEND_ID_TOKEN if the frontend is private. A token must be valid for the whole run. Unknown
options are passed to Locust: `python -m benchmarks.load --max-p95 300 --step-seconds 20`.
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

SaturationPoint = dict[str, Any]
Services = dict[str, local_services.Service]

MAX_OTHER_CPU = 0.05  # share of the machine; above it, other processes are reported

UPLOADS = {"Uploader": images.make_digits, "Photographer": images.make_photographs}  # for --check


def main(arguments: Sequence[str] | None = None) -> int:
    """Run Locust and print the result; return its exit code, or 1 if a service did not start."""
    options, locust_options = _parse(arguments)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # shared with Locust
    try:
        with ExitStack() as stack:
            services = _start_services(options, stack)
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="prism-load-"))
            return _run(options, locust_options, services, Path(folder) / "saturation.json")
    except local_services.ServiceError as error:
        print(error, file=sys.stderr)
        return 1


def _start_services(options: argparse.Namespace, stack: ExitStack) -> Services:
    """Start the services that no URL was given for, and set their URLs in `options`."""
    services = {}
    options.host = options.host.rstrip("/")
    if not options.host:
        services["backend"] = stack.enter_context(local_services.start_backend())
        options.host = services["backend"].url
    local_services.require_ready(options.host)
    if "Visitor" in options.people and not options.frontend:
        services["frontend"] = stack.enter_context(local_services.start_frontend(options.host))
        options.frontend = services["frontend"].url
    return services


def _run(
    options: argparse.Namespace,
    locust_options: Sequence[str],
    services: Services,
    result_file: Path,
) -> int:
    options.html.parent.mkdir(parents=True, exist_ok=True)
    cpu_before = host_cpu.CpuTimes.read()
    usage_before = {name: service.usage() for name, service in services.items()}
    code = _run_locust(options, result_file, locust_options)
    if not result_file.exists():
        return code
    cpu_after = host_cpu.CpuTimes.read()
    usage_after = {name: service.usage() for name, service in services.items()}
    result = json.loads(result_file.read_text())
    cpu_seconds = [
        _report_usage(name, usage_before[name], usage_after[name], result["requests"])
        for name in services
    ]
    if cpu_before and cpu_after:
        share = host_cpu.share_of_others(cpu_before, cpu_after, cpu_seconds)
        if share > MAX_OTHER_CPU:
            text = f"Other processes used {share:.0%} of this machine's CPU during the run"
            print(f"{text}: an idle machine can do more.")
    if options.check and "backend" in services:
        _check(services["backend"].port, result["saturation"], options.people)
    print(f"Report: {options.html}")
    return code


def _report_usage(
    name: str,
    before: local_services.ResourceUsage | None,
    after: local_services.ResourceUsage | None,
    requests: int,
) -> float:
    """Print the resource usage of a service during the run; return its CPU seconds."""
    if before is None or after is None:
        return 0.0
    seconds = after.cpu - before.cpu
    print(
        f"Usage of the {name}: {1000 * seconds / max(1, requests):,.2f} ms of CPU per request; "
        f"memory {before.memory:,.0f} MB idle, {after.peak_memory:,.0f} MB peak."
    )
    return seconds


def _run_locust(options: argparse.Namespace, result_file: Path, more: Sequence[str]) -> int:
    command = [sys.executable, "-m", "locust", "-f", str(local_services.ROOT / "locustfile.py")]
    command += ["--headless", "--only-summary", "--loglevel", "WARNING", "--find-saturation"]
    command += ["--host", options.host, "--html", str(options.html.resolve())]
    command += ["--saturation-file", str(result_file)]
    command += ["--frontend", options.frontend] if options.frontend else []
    command += ["--rate", str(options.rate)] if options.rate else []
    with tempfile.TemporaryFile("w+") as log:
        # Locust's own tables, which merge all steps, are not printed.
        command += [*more, *options.people]
        process = subprocess.run(command, cwd=local_services.ROOT, stderr=log)
        if process.returncode and not result_file.exists():
            log.seek(0)
            sys.stderr.write(log.read())
    return process.returncode


def _check(port: int, saturation: SaturationPoint | None, people: Sequence[str]) -> None:
    if saturation is None or not set(people) <= UPLOADS.keys():
        print(f"--check requires a saturation point for {' or '.join(UPLOADS)}.")
        return
    uploads = [upload for name in people for upload in UPLOADS[name]()]
    print(constant_rate.check(port, saturation["rate"], uploads))


def _parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    first, *_, last = (__doc__ or "").split("\n\n")
    name = "python -m benchmarks.load"
    parser = argparse.ArgumentParser(name, None, first, last, allow_abbrev=False)
    option = parser.add_argument
    option("--host", default="", help="URL of a backend (default: start one)")
    option("--frontend", default="", help="URL of a frontend for Visitor (default: start one)")
    option(
        "--people",
        type=lambda text: text.split(","),
        default=["Uploader"],
        help="user types in locustfile.py, comma-separated (default: Uploader)",
    )
    option("--rate", type=float, help="requests/s for which to compute the number of instances")
    option(
        "--check",
        action="store_true",
        help="also send 80, 100 and 120%% of the saturation rate at a constant rate, if the "
        "backend is started by this command",
    )
    option("--html", type=Path, default=Path("load-report.html"), help="path of the HTML report")
    return parser.parse_known_args(arguments)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt  # stops the started services


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
