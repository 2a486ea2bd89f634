"""The load generator: a process of its own that reads a job and prints what came of it.

    echo '{"port": 8000, "path": "/classify", "pictures": ["a.jpg"], "clients": 16}' \\
        | .venv-benchmarks/serving/bin/python -m benchmarks.serving.load_generator
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.serving.closed_loop import closed_loop
from benchmarks.serving.http_client import get, upload
from benchmarks.serving.open_loop import open_loop
from benchmarks.serving.responses import Answer, Records
from benchmarks.serving.stats import quantile


@dataclass(frozen=True)
class Job:
    """What to send. With a `rate` the loop is open, else `clients` wait for each answer.

    `warm` and `seconds` follow each other; what was answered in the first is not counted.
    """

    port: int
    path: str
    pictures: tuple[str, ...] = ()  # files, sent in turn as multipart forms; none: GET
    clients: int = 1  # connections; of an open loop: at most
    rate: float | None = None  # requests a second
    warm: float = 1.0
    seconds: float = 5.0
    deadline: float = 5.0  # seconds after which an answer is of no use
    cpus: tuple[int, ...] = ()  # cores to run on; none: all


@dataclass(frozen=True)
class Latency:
    """Of a group of answers, in milliseconds; NaN where there were none."""

    p50: float
    p99: float


@dataclass(frozen=True)
class Outcome:
    """What came of a job, in its counted time.

    Rates are answers a second with status 200; `goodput` counts those within the deadline. An
    open loop's latency runs from the time that the schedule had for the request.
    """

    rate: float
    goodput: float
    accepted: Latency
    rejected: Latency
    statuses: dict[str, int] = field(default_factory=dict)  # "0": the connection broke
    unanswered: int = 0
    late: float = 0.0  # share of requests that the generator itself came too late for
    cpu_ms: float = 0.0  # of the generator, for each answer

    @property
    def failures(self) -> dict[str, int]:
        """Answers other than 200."""
        return {status: count for status, count in self.statuses.items() if status != "200"}


def run(job: Job) -> Outcome:
    """Send what `job` says; raises OSError where nobody listens."""
    if job.cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job.cpus)
    requests = _requests(job)
    if job.rate is None:
        loop = closed_loop(job.port, requests, job.clients, job.warm, job.seconds)
    else:
        patience = job.deadline + 1
        loop = open_loop(job.port, requests, job.clients, job.rate, job.warm, job.seconds, patience)
    before = time.process_time()
    records = _runner(loop)
    cpu = time.process_time() - before
    return summary(records, job.deadline, cpu)


def summary(records: Records, deadline: float, cpu: float = 0.0) -> Outcome:
    """Count the answers of the counted time; `deadline` and `cpu` in seconds."""
    answers = records.counted()
    good = [answer for answer in answers if answer.status == 200]
    timely = sum(answer.latency <= deadline for answer in good)
    return Outcome(
        rate=len(good) / records.span,
        goodput=timely / records.span,
        accepted=_latency(good),
        rejected=_latency([answer for answer in answers if answer.status in (429, 503)]),
        statuses={str(k): n for k, n in sorted(Counter(a.status for a in answers).items())},
        unanswered=records.unanswered,
        late=records.late,
        cpu_ms=1000 * cpu / max(1, len(records.answers)),
    )


def _latency(answers: Sequence[Answer]) -> Latency:
    times = [1000 * answer.latency for answer in answers]
    return Latency(quantile(times, 0.5), quantile(times, 0.99))


def _requests(job: Job) -> Iterator[bytes]:
    if not job.pictures:
        return cycle([get(job.path)])
    return cycle([upload(job.path, Path(picture)) for picture in job.pictures])


def _runner(loop: Coroutine[Any, Any, Records]) -> Records:
    try:
        import uvloop
    except ImportError:  # slower, but the figures mean the same
        return asyncio.run(loop)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(loop)


def to_json(outcome: Outcome) -> str:
    """An outcome in one line."""
    return json.dumps(asdict(outcome))


def from_json(text: str) -> Outcome:
    """Read what `to_json` wrote."""
    read = json.loads(text)
    accepted, rejected = (Latency(**read.pop(name)) for name in ("accepted", "rejected"))
    return Outcome(**read, accepted=accepted, rejected=rejected)


if __name__ == "__main__":
    print(to_json(run(Job(**json.load(sys.stdin)))))
