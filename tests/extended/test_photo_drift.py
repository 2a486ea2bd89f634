"""How soon `photos` reports that a fifth of its images differ, with real images.

A backend classifies each image once. The series are drawn from these classifications:

    .venv/bin/python -m pytest -s tests/extended/test_photo_drift.py
"""

import gzip
import io
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from backend.history.drift import Observation, find_drift
from backend.history.record import HistoryFilters
from backend.history.store import Store
from client import Classification, Client
from tests.conftest import wait_until_ready
from tests.e2e.backend_process import BackendProcess

RUNS = 20
BEFORE, AFTER = 1000, 500
STEP = 50  # images between two tests
SHARE = 0.2
START = datetime(2026, 1, 1, tzinfo=UTC)
EXPECTED = {
    "dark": "brightness",
    "small": "pixels",
    "ants and bees": "pixels",  # of another source
    "digits": "out_of_distribution",
}


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _images(data: Path) -> dict[str, list[bytes]]:
    photos = sorted((data / "imagenet" / "val").glob("*.[jJ]*"))
    random.Random(0).shuffle(photos)
    others = [Image.open(path) for path in photos[500:600]]
    digits = gzip.decompress((data / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    pixels = 255 - np.frombuffer(digits, np.uint8)[: 100 * 784].reshape(-1, 28, 28)
    return {
        "photos": [path.read_bytes() for path in photos[:500]],
        "dark": [_jpeg(ImageEnhance.Brightness(image).enhance(0.4)) for image in others],
        "small": [_jpeg(image.resize((160, 160))) for image in others],
        "ants and bees": [path.read_bytes() for path in sorted(data.glob("ants_bees/*/*.jpg"))],
        "digits": [_jpeg(Image.fromarray(one).resize((227, 227))) for one in pixels],
    }


@pytest.fixture(scope="module")
def pools(
    test_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Observation]]:
    """The classifications of each kind of images, by a real backend."""
    folder = tmp_path_factory.mktemp("photos")
    kinds: dict[str, str] = {}
    with BackendProcess(
        PRISM_DATA_DIR=str(folder), PRISM_MODELS="photos", PRISM_TIMEOUT="300"
    ) as backend:
        wait_until_ready(backend.url, backend.process, 300)
        with Client(backend.url) as client:
            for kind, images in _images(test_data).items():
                files = [(kind, image) for image in images]
                for start in range(0, len(files), 20):
                    for one in client.classify_batch(files[start : start + 20], model="photos"):
                        assert isinstance(one, Classification)
                        kinds[one.id] = kind
    store = Store("", folder)
    version = store.newest_version("photos")
    assert version is not None
    pools: dict[str, list[Observation]] = {}
    for observed in store.observations(HistoryFilters("photos"), version, 5000):
        pools.setdefault(kinds[observed.id], []).append(observed)
    store.close()
    return pools


def _draw(
    rng: np.random.Generator, usual: Sequence[Observation], other: Sequence[Observation], gap: float
) -> list[Observation]:
    series = []
    for number in range(BEFORE + AFTER):
        pool = other if number >= BEFORE and rng.random() < SHARE else usual
        time = START + timedelta(seconds=number * gap)
        series.append(pool[int(rng.integers(len(pool)))]._replace(time=time))
    return series


@pytest.mark.parametrize("gap", [0.05, 86.4])
@pytest.mark.parametrize(("kind", "statistic"), EXPECTED.items())
def test_photographs_of_another_kind_are_found(
    pools: dict[str, list[Observation]], kind: str, statistic: str, gap: float
) -> None:
    """The images follow each other after `gap` seconds."""
    rng = np.random.default_rng(1)
    delays = []
    for _ in range(RUNS):
        series = _draw(rng, pools["photos"], pools[kind], gap)
        assert not find_drift(series[:BEFORE], []).alert
        ends = range(BEFORE + STEP, BEFORE + AFTER + 1, STEP)
        alerts = (end - BEFORE for end in ends if find_drift(series[:end], []).alert)
        delays.append(next(alerts, np.inf))
        found = find_drift(series, [])
        assert statistic in {one.name for one in found.statistics if one.alert}
    share, median = np.isfinite(delays).mean(), np.quantile(delays, 0.5, method="higher")
    print(f"\n{kind}, one image in {gap} s: found {share:.0%}, median {median:.0f} images")
    assert share >= 0.9
