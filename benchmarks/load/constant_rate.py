"""A second opinion on a knee: requests at a constant rate, whether or not the service keeps up.

Locust's users wait for their answers, so a slow service is asked less often, and its latency looks
better than it is. The generator of the benchmark does not wait (`benchmarks/serving/load_generator.py`), is a process of
its own and shares no code with locust. Below the knee the latency should stay flat; above it should
rise, or requests be refused.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load.images import Picture
from benchmarks.load.local_services import ROOT

FACTORS = (0.8, 1.0, 1.2)
ROUNDS = 3
_WARM = 2.0  # seconds that do not count
_SECONDS = 8.0
_CONNECTIONS = 400
_LATE = 0.05  # share of requests sent late that makes the figures worthless

Outcome = dict[str, Any]


def check(port: int, rate: float, pictures: Sequence[Picture], rounds: int = ROUNDS) -> str:
    """Ask the backend on `port` of this machine at shares of `rate` (1/s); a table, in words.

    The rounds are interleaved, and the table has their medians. Raises CalledProcessError where the
    generator fails.
    """
    with tempfile.TemporaryDirectory(prefix="prism-load-") as folder:
        files = _written(pictures, Path(folder))
        found: dict[float, list[Outcome]] = {factor: [] for factor in FACTORS}
        for _ in range(rounds):
            for factor in FACTORS:
                found[factor].append(_run(port, factor * rate, files))
    return "\n".join(_lines(rate, found, rounds))


def _written(pictures: Sequence[Picture], folder: Path) -> list[str]:
    paths = []
    for number, (name, data, _) in enumerate(pictures):
        path = folder / f"{number}{Path(name).suffix}"
        path.write_bytes(data)
        paths.append(str(path))
    return paths


def _run(port: int, rate: float, files: list[str]) -> Outcome:
    job = {"port": port, "path": "/classify", "pictures": files, "clients": _CONNECTIONS}
    job |= {"rate": rate, "warm": _WARM, "seconds": _SECONDS}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving.load_generator"],
        cwd=ROOT,
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=True,
    )
    outcome: Outcome = json.loads(done.stdout)
    return outcome


def _lines(rate: float, found: dict[float, list[Outcome]], rounds: int) -> Iterator[str]:
    yield (
        f"At a constant rate, of {rate:,.1f} requests/s "
        f"(medians of {rounds} interleaved rounds of {_SECONDS:g} s):"
    )
    head = ("share", "asked/s", "answered/s", "p50 ms", "p99 ms", "refused", "late")
    yield "  ".join(f"{name:>10}" for name in head)
    for factor, outcomes in found.items():
        row = (
            f"{100 * factor:.0f} %",
            f"{factor * rate:,.1f}",
            f"{median(one['rate'] for one in outcomes):,.1f}",
            f"{median(one['accepted']['p50'] for one in outcomes):,.0f}",
            f"{median(one['accepted']['p99'] for one in outcomes):,.0f}",
            f"{100 * median(_refused(one) for one in outcomes):.1f} %",
            f"{100 * median(one['late'] for one in outcomes):.1f} %",
        )
        yield "  ".join(f"{text:>10}" for text in row)
    if any(median(one["late"] for one in outcomes) > _LATE for outcomes in found.values()):
        yield "The generator itself came late: this machine is too busy to check anything on it."


def _refused(outcome: Outcome) -> float:
    """The share of requests that were not answered with 200."""
    total = sum(outcome["statuses"].values()) + outcome["unanswered"]
    return 1 - outcome["statuses"].get("200", 0) / total if total else 1.0
