"""Measure how long the backend's image takes from its start to its first responses.

python -m deploy.cold_start --engine docker --cpus 1 --rounds 5

Each round starts a new container with the memory that it has on Cloud Run, a read-only root and the
given CPUs. Print the median seconds until /health responds, a digit is classified and /ready
responds, and those of two photographs, of which the first one loads the photo model. The processor
seconds of the backend hardly depend on other programs on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.container_images import BACKEND, ROOT
from deploy.containers import START_TIMEOUT, Engine
from deploy.services import free_port, responds

EXAMPLES = ROOT / "frontend" / "examples"
CONTAINER = "prism-cold-start"
_PROCESSOR_SECONDS = (
    "import os; fields = open('/proc/1/stat').read().rpartition(')')[2].split();"
    "print(sum(map(int, fields[11:13])) / os.sysconf('SC_CLK_TCK'))"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the medians of all rounds."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.cold_start",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--engine", default="docker", help="docker, podman or a compatible command")
    parser.add_argument("--image", default=BACKEND.image, help=f"default: {BACKEND.image}")
    parser.add_argument("--cpus", default="1", help="processors of the container (default: 1)")
    parser.add_argument(
        "--rounds",
        type=int,
        choices=range(1, 101),
        metavar="N",
        default=5,
        help="number of starts, 1 to 100 (default: 5)",
    )
    options = parser.parse_args(arguments)
    engine = Engine(options.engine)
    try:
        rounds = [measure(engine, options.image, options.cpus) for _ in range(options.rounds)]
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"FAILED  {error} {getattr(error, 'output', '')}".strip())
        return 1
    print(f"{options.image}, {options.cpus} CPUs, median of {options.rounds} starts, seconds:")
    for name in rounds[0]:
        print(f"{name:28} {statistics.median(each[name] for each in rounds):.2f}")
    return 0


def measure(engine: Engine, image: str, cpus: str) -> dict[str, float]:
    """Start one container and return the seconds until each response."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    engine("rm", "-f", CONTAINER)
    try:
        started = time.monotonic()
        engine(
            "run", "-d", f"--name={CONTAINER}", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL",
            f"--memory={BACKEND.memory}", f"--cpus={cpus}", f"-p=127.0.0.1:{port}:{BACKEND.port}",
            "-e", f"PORT={BACKEND.port}", "-e", "PRISM_HISTORY=false", image,
        )  # fmt: skip
        seconds = {"engine": time.monotonic() - started}
        for name, is_done in (
            ("/health", lambda: responds(f"{url}/health")),
            ("first digit", lambda: _classifies(url, EXAMPLES / "seven.png")),
            ("/ready", lambda: responds(f"{url}/ready")),
        ):
            _wait(is_done)
            seconds[f"until {name}"] = time.monotonic() - started
        seconds["processor until /ready"] = float(
            engine("exec", CONTAINER, "python", "-c", _PROCESSOR_SECONDS)
        )
        for name in ("first", "second"):
            started = time.monotonic()
            _wait(lambda: _classifies(url, EXAMPLES / "cat.jpg"))
            seconds[f"{name} photograph"] = time.monotonic() - started
        return seconds
    finally:
        engine("rm", "-f", CONTAINER)


def _classifies(url: str, image: Path) -> bool:
    headers = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{url}/classify", image.read_bytes(), headers)  # noqa: S310
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=START_TIMEOUT):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _wait(is_done: Callable[[], bool]) -> None:
    end = time.monotonic() + START_TIMEOUT
    while not is_done():
        if time.monotonic() > end:
            raise TimeoutError(f"The container does not respond within {START_TIMEOUT:.0f} s.")
        time.sleep(0.01)


if __name__ == "__main__":
    raise SystemExit(main())
