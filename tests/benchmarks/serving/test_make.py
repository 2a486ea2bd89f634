"""Tests of `make bench` with a fake Python."""

from pathlib import Path

import pytest

from tests import test_makefile
from tests.test_makefile import Checkout

ANY_FOLDER = 'for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python"'


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    fake_python = test_makefile.FAKE_PYTHON.replace(
        'mkdir -p .venv/bin; cp "$0" .venv/bin/python', ANY_FOLDER
    )
    monkeypatch.setattr(test_makefile, "FAKE_PYTHON", fake_python)
    made = Checkout(tmp_path)
    made.add_python()
    return made


def test_bench_installs_a_separate_environment(checkout: Checkout) -> None:
    result = checkout.make("bench", "ARGS=--only digits")
    assert result.returncode == 0, result.stderr
    assert "-m benchmarks.serving --only digits" in checkout.calls.read_text()
    first, second, third = checkout.pip_calls()[-3:]
    assert first.endswith("torch torchvision")
    assert "-r requirements/benchmarks.txt" in second
    assert "--upgrade --target .venv-bench/peers/gradio -r requirements/peer-gradio.txt" in third
    assert checkout.make("bench").returncode == 0
    assert not checkout.pip_calls()


def test_setup_does_not_install_the_compared_servers(checkout: Checkout) -> None:
    checkout.make("setup")
    assert not any("requirements/benchmarks.txt" in call for call in checkout.pip_calls())


def test_failed_installation_is_repeated(checkout: Checkout) -> None:
    checkout.make("setup")
    failed = checkout.make("bench", lacks="no-registry")
    assert "no such project" in failed.stderr
    assert checkout.make("bench").returncode == 0
    assert checkout.pip_calls()


def test_peer_that_cannot_be_installed_is_left_out(checkout: Checkout) -> None:
    checkout.make("bench", "PEERS=")
    result = checkout.make("bench", "PEERS=ray", lacks="no-registry")
    assert result.returncode == 0
    assert "ray cannot be installed" in result.stderr
    assert "-m benchmarks.serving" in checkout.calls.read_text()
