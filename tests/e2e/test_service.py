"""The running service: concurrent uploads, unusual files, health checks under load."""

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.images import encoded, noise, seven

EXAMPLES = ROOT / "frontend" / "examples"


@pytest.fixture(scope="module")
def service(backend_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=backend_url, timeout=30) as client:
        yield client


def prediction(service: httpx.Client, data: bytes, name: str = "digit.png") -> str:
    response = service.post("/classify?model=mnist-cnn", files={"file": (name, data)})
    assert response.status_code == 200, response.text
    return str(response.json()["prediction"])


def test_256_concurrent_uploads_with_one_name_are_not_mixed_up(service: httpx.Client) -> None:
    """A service that stores uploads on disk under their names mixes up half of them."""
    digits = sorted(EXAMPLES.glob("*.png"))
    expected = {path: prediction(service, path.read_bytes()) for path in digits}
    assert len(set(expected.values())) >= 4
    paths = [digits[i % len(digits)] for i in range(256)]
    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(lambda path: prediction(service, path.read_bytes()), paths))
    assert results == [expected[path] for path in paths]


def test_all_mouse_drawn_digits_are_classified_correctly(
    service: httpx.Client, test_data: Path
) -> None:
    paths = sorted((test_data / "digits" / "mouse_drawn").glob("*/*.png"))
    assert len(paths) == 32
    wrong = {
        str(path): label
        for path in paths
        if (label := prediction(service, path.read_bytes())) != path.parent.name
    }
    assert not wrong


@pytest.mark.parametrize("size", [16, 28, 100, 1000, 4000])
@pytest.mark.parametrize(
    ("ink", "paper"), [("black", "white"), ("white", "black"), ("#333", "#bbb"), ("navy", "#fe8")]
)
def test_seven_is_recognized_in_any_size_and_color(
    service: httpx.Client, size: int, ink: str, paper: str
) -> None:
    assert prediction(service, encoded(seven(size, ink=ink, paper=paper))) == "7"


def test_seven_on_a_transparent_background_is_recognized(service: httpx.Client) -> None:
    for color in ((0, 0, 0), (255, 255, 255)):
        mask = seven(100).convert("L").point(lambda value: 255 - value)
        page = Image.new("RGBA", mask.size, (*color, 0))
        page.putalpha(mask)
        assert prediction(service, encoded(page)) == "7"


def test_seven_in_a_corner_of_a_large_page_is_recognized(service: httpx.Client) -> None:
    page = Image.new("RGB", (1200, 900), "#eee")
    page.paste(seven(150, paper="#eee"), (1000, 60))
    assert prediction(service, encoded(page)) == "7"


def unusual_files() -> Iterator[tuple[str, bytes]]:
    """Yield unusual, damaged and invalid image files."""
    for size in ((1, 1), (1, 3000), (3000, 1), (2, 2)):
        yield f"{size} white", encoded(Image.new("RGB", size, "white"))
        yield f"{size} noise", encoded(noise(*size))
    yield "blank", encoded(Image.new("L", (300, 300), 255))
    yield (
        "static",
        encoded(
            Image.fromarray(
                np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
            )
        ),
    )
    yield "large", encoded(Image.new("1", (7000, 7000)))
    yield "larger", encoded(Image.new("1", (8000, 8000)))
    files = {
        file_format: encoded(noise(), file_format)
        for file_format in ("PNG", "JPEG", "GIF", "WEBP", "BMP")
    }
    rng = np.random.default_rng(1)
    for file_format, data in files.items():
        for share in (0.05, 0.3, 0.9):
            yield f"{file_format} cut at {share}", data[: int(share * len(data))]
        for number in range(10):
            damaged = bytearray(data)
            for place in rng.integers(0, len(data), 5):
                damaged[place] = rng.integers(0, 256)
            yield f"{file_format} damaged {number}", bytes(damaged)
    for data in (b"", b"\0", b"GIF89a", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP", b"BM", b"<svg/>"):
        yield repr(data), data


def test_unusual_files_cause_no_5xx(service: httpx.Client) -> None:
    for name, data in unusual_files():
        response = service.post("/classify?model=mnist-cnn", files={"file": (name, data)})
        assert response.status_code < 500, f"{name}: {response.text}"
        if response.status_code != 200:
            assert response.json()["code"], name


def test_health_responds_at_once_during_16_large_uploads(backend_url: str) -> None:
    photo = encoded(noise(4000, 3000), "JPEG")

    def upload(_: int) -> int:
        return httpx.post(f"{backend_url}/classify", files={"file": photo}, timeout=60).status_code

    with ThreadPoolExecutor(16) as pool, httpx.Client(base_url=backend_url) as probe:
        uploads = [pool.submit(upload, number) for number in range(32)]
        durations = []
        while not all(done.done() for done in uploads):
            started = time.perf_counter()
            assert probe.get("/health").status_code == 200
            durations.append(time.perf_counter() - started)
        assert {done.result() for done in uploads} <= {200, 429, 504}
    assert len(durations) >= 5
    assert statistics.median(durations) < 0.1  # inference must not block the event loop
