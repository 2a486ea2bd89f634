"""What an ascent found, in words."""

from collections.abc import Iterator

from benchmarks.load.saturation import Ascent, Step, concurrency, instances

_HEAD = ("users", "requests/s", "p50 ms", "p95 ms", "p99 ms", "failed", "in flight")


def told(ascent: Ascent, rate: float | None = None, headroom: float = 1.3) -> str:
    """The steps as a table, the knee, and the instances for `rate` requests/s, if any."""
    return "\n".join(_lines(ascent, rate, headroom))


def _lines(ascent: Ascent, rate: float | None, headroom: float) -> Iterator[str]:
    yield "  ".join(f"{name:>10}" for name in _HEAD)
    for step in ascent.steps:
        yield "  ".join(f"{text:>10}" for text in _row(step)) + _remark(ascent, step)
    yield ""
    knee = ascent.knee
    if knee is None:
        yield "No knee: the first steps were already too much."
        return
    if ascent.is_reached:
        yield f"The knee: {_said(knee)}"
    else:
        yield f"The knee was not reached; so far: {_said(knee)}"
    if rate is not None:
        yield f"For {rate:,g} requests/s: {_instances(rate, knee, headroom)}"


def _row(step: Step) -> tuple[str, ...]:
    return (
        f"{step.users}",
        f"{step.rate:,.1f}",
        f"{step.p50:,.0f}",
        f"{step.p95:,.0f}",
        f"{step.p99:,.0f}",
        f"{100 * step.failures:.1f} %",
        f"{step.in_flight:,.1f}",
    )


def _remark(ascent: Ascent, step: Step) -> str:
    if step is ascent.knee:
        return "  the knee" if ascent.is_reached else ""
    why = ascent.why(step)
    return f"  {why}" if why else ""


def _said(knee: Step) -> str:
    return (
        f"{knee.rate:,.1f} requests/s with {_users(knee.users)} at a time; p50 {knee.p50:,.0f} ms, "
        f"p95 {knee.p95:,.0f} ms, p99 {knee.p99:,.0f} ms; {knee.in_flight:,.1f} in flight "
        f"(rate x mean latency of {knee.mean:,.0f} ms)."
    )


def _users(number: int) -> str:
    return f"{number:,} user{'' if number == 1 else 's'}"


def _instances(rate: float, knee: Step, headroom: float) -> str:
    number = instances(rate, knee, headroom)
    noun = "instance" if number == 1 else "instances"
    return (
        f"{number:,} {noun} like this one: ceil({rate:,g} / {knee.rate:,.1f} x {headroom:g}); "
        f"{concurrency(rate, knee.mean):,.1f} requests are then in flight at a time."
    )
