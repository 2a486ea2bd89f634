"""Formats the result of a saturation search as text."""

from collections.abc import Iterator

from benchmarks.load.saturation import SaturationSearch, Step, count_instances, requests_in_flight

_COLUMNS = ("users", "requests/s", "p50 ms", "p95 ms", "p99 ms", "failed", "in flight")


def format_report(
    search: SaturationSearch, rate: float | None = None, headroom: float = 1.3
) -> str:
    """Return a table of the steps, the saturation point and the instances for `rate` requests/s."""
    return "\n".join(_lines(search, rate, headroom))


def _lines(search: SaturationSearch, rate: float | None, headroom: float) -> Iterator[str]:
    yield "  ".join(f"{name:>10}" for name in _COLUMNS)
    for step in search.steps:
        latencies = (f"{latency:,.0f}" for latency in (step.p50, step.p95, step.p99))
        shares = (f"{step.failures:.1%}", f"{step.in_flight:,.1f}")
        row = (f"{step.users}", f"{step.rate:,.1f}", *latencies, *shares)
        yield "  ".join(f"{text:>10}" for text in row) + _note(search, step)
    yield ""
    saturation = search.saturation
    if saturation is None:
        yield "No saturation point: the first steps already exceeded the limits."
        return
    if search.is_saturated:
        yield f"Saturation point: {_describe(saturation)}"
    else:
        yield f"Saturation point not reached; best step: {_describe(saturation)}"
    if rate is not None:
        yield f"For {rate:,g} requests/s: {_describe_instances(rate, saturation, headroom)}"


def _note(search: SaturationSearch, step: Step) -> str:
    if step is search.saturation:
        return "  saturation point" if search.is_saturated else ""
    violation = search.describe_violation(step)
    return f"  {violation}" if violation else ""


def _describe(step: Step) -> str:
    return (
        f"{step.rate:,.1f} requests/s with {step.users:,} user{'' if step.users == 1 else 's'}; "
        f"p50 {step.p50:,.0f} ms, p95 {step.p95:,.0f} ms, p99 {step.p99:,.0f} ms; "
        f"{step.in_flight:,.1f} in flight (rate x mean latency of {step.mean:,.0f} ms)."
    )


def _describe_instances(rate: float, saturation: Step, headroom: float) -> str:
    number = count_instances(rate, saturation, headroom)
    return (
        f"{number:,} instance{'' if number == 1 else 's'} like this one: "
        f"ceil({rate:,g} / {saturation.rate:,.1f} x {headroom:g}), "
        f"with {requests_in_flight(rate, saturation.mean):,.1f} requests in flight."
    )
