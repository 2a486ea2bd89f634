"""One measurement: the raw limit, or a load on a server. Each runs in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.serving.load_generator import Job, Outcome, from_json
from benchmarks.serving.paths import ROOT
from benchmarks.serving.raw_limit import Limit


@dataclass(frozen=True)
class Options:
    """How long and how often: seconds that count, seconds before them, and the rounds."""

    rounds: int = 3
    seconds: float = 5.0
    warm: float = 2.0
    systems: frozenset[str] = frozenset()  # names; none: all

    def wanted(self, name: str) -> bool:
        """Whether a contender takes part."""
        return not self.systems or name in self.systems


def load(job: Job) -> Outcome:
    """Run the load generator; raises CalledProcessError where it fails, saying why itself."""
    return from_json(finish(start(job)))


def start(job: Job) -> "subprocess.Popen[str]":
    """Start the load generator without waiting for it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.serving.load_generator"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if process.stdin is not None:
        process.stdin.write(json.dumps(asdict(job)))
        process.stdin.close()
        process.stdin = None  # `communicate` would flush it once more
    return process


def finish(process: "subprocess.Popen[str]") -> str:
    """What the process printed, once it has ended; raises CalledProcessError where it failed."""
    printed, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return printed


def raw_limit(
    model: Path, pictures: Sequence[Path], seconds: float, *, bare: bool = False
) -> Limit:
    """What the machine can do without a server; `bare`: only one picture after the other."""
    job = {
        "model": str(model),
        "pictures": [str(path) for path in pictures],
        "seconds": seconds,
        "bare": bare,
    }
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving.raw_limit"],
        cwd=ROOT,
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Limit(**json.loads(found.stdout))
