"""Single measurements: a load on a server, or the raw limit, each in a separate process."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.serving.assets import ROOT
from benchmarks.serving.load_generator import Job, Outcome, from_json
from benchmarks.serving.raw_limit import RawLimit
from benchmarks.serving.servers import Server

Log = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """The rounds, the measured seconds and the warm-up seconds of each load, and the systems."""

    rounds: int = 5
    seconds: float = 2.0
    warmup: float = 0.5
    systems: frozenset[str] = frozenset()  # names; empty: all

    def includes(self, name: str) -> bool:
        """Return whether the system `name` is to be measured."""
        return not self.systems or name in self.systems

    def job(self, server: Server, files: Sequence[Path], clients: int = 1) -> Job:
        """Return a closed loop of `clients` that upload `files` to `server`."""
        system = server.system
        job = Job(server.port, system.path, tuple(map(str, files)), clients)
        job = replace(job, protocol=system.protocol, numbers=max(1, system.heads))
        return replace(job, warmup=self.warmup, seconds=self.seconds)


def with_prefix(log: Log, prefix: str) -> Log:
    """Return a log whose messages begin with `prefix`."""
    return lambda text: log(f"{prefix} {text}")


def run_load(job: Job) -> Outcome:
    """Run the load generator; raise CalledProcessError if it fails."""
    return wait_for_load(start_load(job))


def start_load(job: Job) -> "subprocess.Popen[str]":
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
        process.stdin = None  # otherwise `communicate` flushes the closed pipe
    return process


def wait_for_load(process: "subprocess.Popen[str]") -> Outcome:
    """Wait for a load generator; raise CalledProcessError if it failed."""
    output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return from_json(output)


def measure_raw_limit(
    model: Path, images: Sequence[Path], seconds: float, *, sequential_only: bool = False
) -> RawLimit:
    """Measure the throughput of the machine without a server."""
    job = {
        "model": str(model),
        "images": [str(path) for path in images],
        "seconds": seconds,
        "sequential_only": sequential_only,
    }
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving.raw_limit"],
        cwd=ROOT,
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return RawLimit(**json.loads(process.stdout))
