"""Ordinary images beside every kind of expensive image, for longer than in tests/e2e."""

from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.backend_process import BackendProcess
from tests.e2e.fairness_clients import Sender, run_senders
from tests.images import encoded, noise, seven, uniform_webp

SECONDS = 30.0
MIN_SUCCESS = 0.95


def expensive_images() -> dict[str, bytes]:
    """Return images that take 0.1 to 3 seconds to decode, by name."""
    photograph = noise(4000, 3000)
    return {
        "WebP of 49 megapixels": uniform_webp(7000),
        "PNG of 49 megapixels": encoded(Image.new("RGB", (7000, 7000))),
        "PNG of 12 megapixels": encoded(photograph, compress_level=1),
        "progressive JPEG of 12 megapixels": encoded(photograph, "JPEG", progressive=True),
        "JPEG of 12 megapixels": encoded(photograph, "JPEG"),
        "WebP of 12 megapixels": encoded(photograph, "WEBP", method=0),
        "AVIF of 12 megapixels": encoded(photograph, "AVIF", speed=10),
        "GIF of 12 megapixels": encoded(photograph, "GIF"),
        "TIFF of 12 megapixels": encoded(photograph.convert("L"), "TIFF"),
        "JPEG 2000 of 4 megapixels": encoded(noise(2000, 2000), "JPEG2000"),
    }


@pytest.mark.parametrize("shares_address", [False, True])
@pytest.mark.parametrize("name", ["all", *expensive_images()])
def test_ordinary_images_succeed(tmp_path: Path, name: str, *, shares_address: bool) -> None:
    images = expensive_images()
    expensive = list(images.values()) if name == "all" else [images[name]]
    digits = [encoded(seven(28)), encoded(seven(240))]
    photographs = [encoded(noise(500, 375, seed), "JPEG") for seed in range(4)]

    def address(number: int) -> str:
        return "127.0.1.1" if shares_address else f"127.0.1.{number}"

    with BackendProcess(PRISM_DATA_DIR=str(tmp_path), PRISM_HISTORY="false") as backend:
        backend.wait_until_ready()
        port = backend.port
        senders = [Sender(port, "expensive", expensive, address(n)) for n in range(1, 9)]
        senders += [Sender(port, "digits", digits, address(20 + n), 0.02) for n in range(4)]
        senders += [Sender(port, "photos", photographs, address(30 + n), 0.02) for n in range(4)]
        outcomes = run_senders(senders, SECONDS)
    print(name, {kind: dict(counts) for kind, counts in outcomes.statuses.items()})
    assert outcomes.success("digits") >= MIN_SUCCESS, outcomes.statuses
    assert outcomes.success("photos") >= MIN_SUCCESS, outcomes.statuses
