"""The measurement of decoding by format."""

import sys

import pytest

from backend.inference.preprocessing.photos import PhotoPreprocess
from benchmarks import decoding
from tests.images import encoded, noise


@pytest.mark.parametrize("form", ["JPEG", "AVIF"])
def test_stages_are_part_of_the_total(form: str) -> None:
    least = decoding.measure(encoded(noise(64, 64), form), PhotoPreprocess(resize=32), runs=2)
    assert set(least) == set(decoding._COLUMNS[2:])
    assert 0 < least["resize"] < 1
    assert least["total"] <= least["duration"] + 0.01


def test_report_has_a_row_for_each_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("_SMALL", "_MEDIUM", "_LARGE"):
        monkeypatch.setattr(decoding, name, (40, 30))
    monkeypatch.setattr(decoding, "create_photo", lambda *_, **__: encoded(noise(40, 30), "JPEG"))
    monkeypatch.setattr(sys, "argv", ["decoding", "--runs", "1"])
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    decoding.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 2 + 7 + 9
    assert len({line.count("|") for line in lines}) == 1
