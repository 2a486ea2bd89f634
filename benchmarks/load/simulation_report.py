"""Figures of a simulation: latency, refusals, instances, cost on Cloud Run."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from benchmarks.load.simulated_instance import Request
from benchmarks.load.simulation import Run

# Cloud Run with request-based billing, in dollars; docs/scaling.md states the source.
CPU_SECOND, GIB_SECOND, MILLION_REQUESTS = 0.000024, 0.0000025, 0.40
IDLE_SECOND = 0.0000025  # of a CPU and of a GiB, of a permanent instance

_QUANTILES: Final = {"p50": 50, "p90": 90, "p95": 95, "p99": 99}


@dataclass(frozen=True)
class Summary:
    """The figures of a run, of the requests that arrived after its warm-up."""

    arrivals: int
    served: int
    outcomes: dict[str, int]  # of the others, by reason
    in_flight: int  # at the end
    refused_share: float
    throughput: float  # served requests per second
    latency_ms: dict[str, float]  # of served requests; NaN if there are none


def summarize(run: Run, warm_up: float = 0.0, overhead: float = 0.0) -> Summary:
    """Return the figures of `run`; `overhead` is the latency in seconds besides the instance."""
    requests = [one for one in run.requests if one.arrival >= warm_up]
    counts = Counter(one.outcome for one in requests)
    latencies = [1e3 * (one.end - one.arrival + overhead) for one in requests if _is_served(one)]
    finished = sum(one.end >= warm_up for one in run.requests if _is_served(one))
    values = np.percentile(latencies or [math.nan], list(_QUANTILES.values()))
    latency = dict(zip(_QUANTILES, map(float, values), strict=True))
    others = {str(name): count for name, count in counts.items() if name not in ("served", None)}
    return Summary(
        arrivals=len(requests),
        served=counts["served"],
        outcomes=others,
        in_flight=counts[None],
        refused_share=sum(others.values()) / max(len(requests) - counts[None], 1),
        throughput=finished / (run.seconds - warm_up),
        latency_ms={"mean": float(np.mean(latencies or [math.nan])), **latency},
    )


@dataclass(frozen=True)
class Cost:
    """The price of the whole run on Cloud Run with request-based billing, in dollars."""

    active_seconds: float  # of instances that start or have a request in flight, rounded up
    idle_seconds: float  # of permanent instances
    total: float
    per_hour: float
    per_million: float  # served requests; NaN if there are none

    @classmethod
    def of(cls, run: Run, permanent: int, cpus: float, memory_gib: float) -> "Cost":
        """Compute the cost; the first `permanent` instances are billed while they are idle."""
        active = sum(one.active_seconds for one in run.instances)
        idle = sum(max(run.seconds - one.active_seconds, 0) for one in run.instances[:permanent])
        served = sum(one.outcome == "served" for one in run.requests)
        total = active * (cpus * CPU_SECOND + memory_gib * GIB_SECOND)
        total += idle * (cpus + memory_gib) * IDLE_SECOND
        total += len(run.requests) * MILLION_REQUESTS / 1e6
        per_million = total / served * 1e6 if served else math.nan
        return cls(active, idle, total, total / run.seconds * 3600, per_million)


def report(run: Run, summary: Summary, cost: Cost) -> str:
    """Return the figures as a table."""
    latency = "  ".join(f"{name} {value:,.0f}" for name, value in summary.latency_ms.items())
    reasons = ", ".join(f"{name} {count:,}" for name, count in summary.outcomes.items())
    ready = [sample.ready for sample in run.samples]
    lines = [
        f"requests     {summary.arrivals:,}: served {summary.served:,}, "
        f"refused or late {summary.refused_share:.1%}{f' ({reasons})' if reasons else ''}, "
        f"in flight at the end {summary.in_flight:,}",
        f"served/s     {summary.throughput:,.1f}",
        f"latency, ms  {latency}",
        f"instances    mean {np.mean(ready):,.1f}, maximum {max(ready):,}, "
        f"started {sum(one.created > 0 for one in run.instances):,}; "
        f"{run.instance_seconds:,.0f} instance-seconds, {cost.active_seconds:,.0f} of them active",
        f"cost         ${cost.total:,.4f}; ${cost.per_hour:,.2f} per hour, "
        f"${cost.per_million:,.2f} per million served requests",
        "",
        f"{'seconds':>8}  {'ready':>8}  {'starting':>8}  {'in flight':>9}  {'waiting':>8}",
    ]
    lines += [
        f"{one.at:>8,.0f}  {one.ready:>8,}  {one.starting:>8,}  {one.in_flight:>9,}  "
        f"{one.pending:>8,}"
        for one in run.samples
    ]
    return "\n".join(lines)


def to_json(options: Mapping[str, object], run: Run, summary: Summary, cost: Cost) -> str:
    """Return the options and the figures as JSON; figures that do not exist are null."""
    result = {
        "options": options,
        **asdict(summary),
        "instances": {
            "mean": float(np.mean([sample.ready for sample in run.samples])),
            "maximum": max(sample.ready for sample in run.samples),
            "started": sum(one.created > 0 for one in run.instances),
            "seconds": run.instance_seconds,
        },
        "cost": asdict(cost),
        "samples": [asdict(sample) for sample in run.samples],
    }
    return json.dumps(_without_nan(result), indent=1, default=str)


def _is_served(request: Request) -> bool:
    return request.outcome == "served"


def _without_nan(value: Any) -> Any:
    """Replace NaN, which JSON has not, by None."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
