"""Senders of expensive images do not keep the service from ordinary ones."""

from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.backend_process import BackendProcess
from tests.e2e.fairness_clients import Sender, run_senders
from tests.images import encoded, noise, seven, uniform_webp

ATTACKERS = 8
SECONDS = 8.0
MIN_SUCCESS = 0.95


@pytest.mark.parametrize("addresses", [ATTACKERS, 1])
def test_ordinary_images_succeed_beside_expensive_ones(tmp_path: Path, addresses: int) -> None:
    """All senders have their own address, or all have the same one."""
    expensive = [uniform_webp(7000), encoded(Image.new("L", (7000, 7000)))]
    digits = [encoded(seven(28)), encoded(seven(240))]
    photographs = [encoded(noise(500, 375), "JPEG")]

    def address(number: int) -> str:
        return f"127.0.1.{number if addresses > 1 else 1}"

    with BackendProcess(PRISM_DATA_DIR=str(tmp_path), PRISM_HISTORY="false") as backend:
        backend.wait_until_ready()
        port = backend.port
        senders = [Sender(port, "expensive", expensive, address(n)) for n in range(1, 9)]
        senders += [Sender(port, "digits", digits, address(20 + n), 0.05) for n in range(2)]
        senders += [Sender(port, "photos", photographs, address(30 + n), 0.05) for n in range(2)]
        outcomes = run_senders(senders, SECONDS)
        assert backend.get("/health").status_code == 200
    assert outcomes.success("digits") >= MIN_SUCCESS, outcomes.statuses
    assert outcomes.success("photos") >= MIN_SUCCESS, outcomes.statuses
    assert set(outcomes.statuses["expensive"]) <= {200, 413, 429, 504}, outcomes.statuses
    assert not outcomes.retry_after_missing
