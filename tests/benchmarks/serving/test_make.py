"""`make bench`, with a stand-in for Python."""

from pathlib import Path

import pytest

from tests import test_makefile
from tests.test_makefile import Checkout

ANY_FOLDER = 'for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python"'


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    stand_in = test_makefile.STAND_IN.replace(
        'mkdir -p .venv/bin; cp "$0" .venv/bin/python', ANY_FOLDER
    )
    monkeypatch.setattr(test_makefile, "STAND_IN", stand_in)
    made = Checkout(tmp_path)
    made.add_python()
    return made


def test_the_benchmark_has_an_environment_of_its_own(checkout: Checkout) -> None:
    result = checkout.make("bench", "ARGS=--only digits")
    assert result.returncode == 0, result.stderr
    assert "-m benchmarks.serving --only digits" in checkout.calls.read_text()
    first, second = checkout.installed()[-2:]
    assert first.endswith("torch torchvision")
    assert "-r requirements/benchmarks.txt" in second
    assert checkout.make("bench").returncode == 0
    assert not checkout.installed()


def test_development_does_without_what_prism_is_compared_with(checkout: Checkout) -> None:
    checkout.make("setup")
    assert not any("requirements/benchmarks.txt" in call for call in checkout.installed())


def test_a_failed_install_is_one_line_and_is_tried_again(checkout: Checkout) -> None:
    checkout.make("setup")
    failed = checkout.make("bench", lacks="no-registry")
    assert "no such project" in failed.stderr
    assert checkout.make("bench").returncode == 0
    assert checkout.installed()
