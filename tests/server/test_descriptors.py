"""The limit of open files bounds the connections."""

import logging
import subprocess
import sys

import pytest

from backend.server import descriptors
from backend.server.descriptors import MAX_BACKLOG, MAX_OVER_LIMIT, divide_descriptors
from tests.conftest import ROOT


def test_default_limits_fit_into_a_large_limit_of_open_files() -> None:
    for limit in (3560, 20_000):
        assert divide_descriptors(limit, 1000) == (1000, MAX_OVER_LIMIT, MAX_BACKLOG)


@pytest.mark.parametrize("limit", [64, 100, 256, 1024, 3000])
def test_small_limit_of_open_files_leaves_descriptors_for_the_service(limit: int) -> None:
    budget = divide_descriptors(limit, 1000)
    assert min(budget) > 0
    assert sum(budget) <= limit - 40


def test_service_says_how_many_connections_the_limit_allows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(descriptors, "_raise_file_limit", lambda _: 64)
    with caplog.at_level(logging.WARNING):
        budget = descriptors.reserve_descriptors(1000)
    assert f"only {budget.connections} instead of 1000 connections" in caplog.text


def test_soft_limit_is_raised_to_the_hard_limit() -> None:
    code = (
        "import resource; from backend.server.descriptors import reserve_descriptors as reserve;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512)); budget = reserve(1000);"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE), sum(budget))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert output == "(512, 512) 448\n"
