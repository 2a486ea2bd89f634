"""The load generator: a separate process that reads a job and prints the outcome, both as JSON.

    echo '{"port": 8000, "path": "/classify", "images": ["a.jpg"], "clients": 16}' \\
        | python -m benchmarks.serving.load_generator
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.serving.closed_loop import closed_loop
from benchmarks.serving.http_client import Protocol, get_request, upload_request
from benchmarks.serving.open_loop import open_loop
from benchmarks.serving.stats import Response, RunRecord, quantile


@dataclass(frozen=True)
class Job:
    """The requests to send: an open loop if `rate` is set, otherwise a closed loop.

    An open loop sends at a constant rate, or, with a `seed`, as a Poisson process. The measurement
    of `seconds` follows the warm-up.
    """

    port: int
    path: str  # may contain {number}, which is 0 to `numbers` - 1 in turn
    images: tuple[str, ...] = ()  # files, uploaded in turn; none: GET requests
    clients: int = 1  # connections; of an open loop: their maximum
    rate: float | None = None  # requests per second
    seed: int | None = None  # of the random times of an open loop
    warmup: float = 1.0
    seconds: float = 5.0
    deadline: float = 5.0  # seconds after which a response does not count as goodput
    cpus: tuple[int, ...] = ()  # cores of the load generator; none: all
    protocol: Protocol = "form"
    numbers: int = 1


@dataclass(frozen=True)
class Latency:
    """Latency quantiles in milliseconds; NaN if there were no responses."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class Outcome:
    """The result of a job.

    `rate` is the number of responses per second with status 200; `goodput` counts those within
    the deadline. The latency of an open loop starts at the scheduled time of the request.
    """

    rate: float
    goodput: float
    accepted: Latency
    rejected: Latency
    statuses: dict[str, int] = field(default_factory=dict)  # "0": broken connection
    unanswered: int = 0
    late: float = 0.0  # share of requests that the load generator sent late
    cpu_ms: float = 0.0  # CPU time of the load generator per response
    total: int = 0  # responses with status 200, those of the warm-up included

    @property
    def failures(self) -> dict[str, int]:
        """Return the number of responses for each status other than 200."""
        return {status: count for status, count in self.statuses.items() if status != "200"}


def run(job: Job) -> Outcome:
    """Send the requests of `job`; raise OSError if no server listens."""
    if job.cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, job.cpus)
    get = [] if job.images else [get_request(job.path)]
    uploads = [
        upload_request(
            job.path,
            Path(job.images[index % len(job.images)]),
            job.protocol,
            number=index % job.numbers,
        )
        for index in range(max(len(job.images), job.numbers) if job.images else 0)
    ]
    requests = cycle(get + uploads)
    if job.rate is None:
        loop = closed_loop(job.port, requests, job.clients, job.warmup, job.seconds)
    else:
        times = (job.warmup, job.seconds, job.deadline + 1)
        loop = open_loop(job.port, requests, job.clients, job.rate, *times, seed=job.seed)
    before = time.process_time()
    record = _run_loop(loop)
    cpu = time.process_time() - before
    return _summarize(record, job.deadline, cpu)


def _summarize(record: RunRecord, deadline: float, cpu: float) -> Outcome:
    """Return the outcome of the measured responses; `deadline` and `cpu` are in seconds."""
    responses = record.measured()
    accepted = [response for response in responses if response.status == 200]
    in_time = sum(response.latency <= deadline for response in accepted)
    statuses = Counter(response.status for response in responses)
    return Outcome(
        rate=len(accepted) / record.span,
        goodput=in_time / record.span,
        accepted=_latency(accepted),
        rejected=_latency([response for response in responses if response.status in (429, 503)]),
        statuses={str(status): count for status, count in sorted(statuses.items())},
        unanswered=record.unanswered,
        late=record.late,
        cpu_ms=1000 * cpu / max(1, len(record.responses)),
        total=sum(response.status == 200 for response in record.responses),
    )


def _latency(responses: Sequence[Response]) -> Latency:
    times = [1000 * response.latency for response in responses]
    return Latency(*(quantile(times, share) for share in (0.5, 0.9, 0.99)))


def _run_loop(loop: Coroutine[Any, Any, RunRecord]) -> RunRecord:
    try:
        import uvloop
    except ImportError:  # slower, but equally valid
        return asyncio.run(loop)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(loop)


def to_json(outcome: Outcome) -> str:
    """Return an outcome as one line of JSON."""
    return json.dumps(asdict(outcome))


def from_json(text: str) -> Outcome:
    """Return the outcome that `to_json` wrote."""
    fields = json.loads(text)
    accepted, rejected = (Latency(**fields.pop(name)) for name in ("accepted", "rejected"))
    return Outcome(**fields, accepted=accepted, rejected=rejected)


if __name__ == "__main__":
    print(to_json(run(Job(**json.load(sys.stdin)))))
