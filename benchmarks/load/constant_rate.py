"""Checks a saturation point at a constant request rate.

Locust's users wait for responses, so a slow service receives fewer requests and its latency looks
better than it is. The load generator of the benchmark (`benchmarks/serving/load_generator.py`)
does not wait; it is a separate process and shares no code with Locust. Below the saturation point
the latency should stay constant; above it, it should rise or requests should be rejected.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load.images import Upload
from benchmarks.load.local_services import ROOT

FACTORS = (0.8, 1.0, 1.2)
ROUNDS = 3
_WARM_UP = 2.0  # s, not measured
_SECONDS = 8.0  # s, measured
_CONNECTIONS = 400
_MAX_LATE = 0.05  # share of requests sent late above which the results are invalid

Outcome = dict[str, Any]


def check(port: int, rate: float, uploads: Sequence[Upload], rounds: int = ROUNDS) -> str:
    """Send requests to the backend on the local `port` at FACTORS of `rate` (1/s).

    Return a table of the medians over `rounds` interleaved rounds.
    Raise CalledProcessError if the load generator fails.
    """
    with tempfile.TemporaryDirectory(prefix="prism-load-") as folder:
        files = _write_files(uploads, Path(folder))
        outcomes: dict[float, list[Outcome]] = {factor: [] for factor in FACTORS}
        for _ in range(rounds):
            for factor in FACTORS:
                outcomes[factor].append(_run(port, factor * rate, files))
    return "\n".join(_lines(rate, outcomes, rounds))


def _write_files(uploads: Sequence[Upload], folder: Path) -> list[str]:
    paths = []
    for number, (name, content, _) in enumerate(uploads):
        path = folder / f"{number}{Path(name).suffix}"
        path.write_bytes(content)
        paths.append(str(path))
    return paths


def _run(port: int, rate: float, files: list[str]) -> Outcome:
    job = {"port": port, "path": "/classify", "images": files, "clients": _CONNECTIONS}
    job |= {"rate": rate, "warmup": _WARM_UP, "seconds": _SECONDS}
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving.load_generator"],
        cwd=ROOT,
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=True,
    )
    outcome: Outcome = json.loads(result.stdout)
    return outcome


def _lines(rate: float, results: dict[float, list[Outcome]], rounds: int) -> Iterator[str]:
    yield (
        f"Constant-rate check of {rate:,.1f} requests/s "
        f"(medians of {rounds} interleaved rounds of {_SECONDS:g} s):"
    )
    columns = ("load", "sent/s", "answered/s", "p50 ms", "p99 ms", "failed", "late")
    yield "  ".join(f"{name:>10}" for name in columns)
    for factor, outcomes in results.items():
        row = (
            f"{factor:.0%}",
            f"{factor * rate:,.1f}",
            f"{median(one['rate'] for one in outcomes):,.1f}",
            f"{median(one['accepted']['p50'] for one in outcomes):,.0f}",
            f"{median(one['accepted']['p99'] for one in outcomes):,.0f}",
            f"{median(_failed_share(one) for one in outcomes):.1%}",
            f"{median(one['late'] for one in outcomes):.1%}",
        )
        yield "  ".join(f"{text:>10}" for text in row)
    if any(median(one["late"] for one in outcomes) > _MAX_LATE for outcomes in results.values()):
        yield "The load generator sent requests late: this machine is too busy for a valid check."


def _failed_share(outcome: Outcome) -> float:
    """Return the share of requests that were not answered with status 200."""
    total = sum(outcome["statuses"].values()) + outcome["unanswered"]
    return 1 - outcome["statuses"].get("200", 0) / total if total else 1.0
