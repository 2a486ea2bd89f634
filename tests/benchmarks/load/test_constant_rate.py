"""The constant-rate check measures below, at and above the saturation point."""

import pytest

from benchmarks.load import constant_rate, images
from tests.benchmarks.serving.conftest import Script, scripted

__all__ = ["scripted"]


def test_check_sends_below_at_and_above_saturation(
    scripted: tuple[int, Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, script = scripted
    script.set_statuses(200, 429)
    monkeypatch.setattr(constant_rate, "_WARM_UP", 0.0)
    monkeypatch.setattr(constant_rate, "_SECONDS", 1.0)
    text = constant_rate.check(port, rate=50, uploads=images.make_digits()[:2], rounds=1)
    rows = [line.split() for line in text.splitlines()[2:5]]
    assert [(row[0], row[1]) for row in rows] == [
        ("80%", "40.0"),
        ("100%", "50.0"),
        ("120%", "60.0"),
    ]
    for row in rows:
        failed = float(row[5].rstrip("%"))
        assert 40 <= failed <= 60
    assert len(script.bodies) == 2


def test_check_with_late_generator_is_reported_as_invalid(
    scripted: tuple[int, Script], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, _ = scripted
    late = {"rate": 9.0, "accepted": {"p50": 5, "p99": 9}, "statuses": {"200": 9}, "unanswered": 0}
    monkeypatch.setattr(constant_rate, "_run", lambda *_: late | {"late": 0.2})
    text = constant_rate.check(port, rate=10, uploads=images.make_digits()[:2], rounds=1)
    assert "The load generator sent requests late" in text
