import time
from pathlib import Path

import numpy as np
import pytest

from backend.inference.decoder import Decoder
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from benchmarks.load.sleeping_backend import SleepingRuntime, make_image, write_model


def test_sleep_of_a_batch_is_the_sum_of_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeps: list[float] = []
    monkeypatch.setattr(time, "sleep", sleeps.append)
    write_model(tmp_path / "sleeping")
    decoder = Decoder(artifact.read(tmp_path / "sleeping").manifest.preprocess, ImageReader())
    runtime = SleepingRuntime([number / 1000 for number in range(256)])
    for levels in ([0], [255], [3, 100, 7]):
        rows = [decoder.decode(make_image(level)).rows[0] for level in levels]
        assert runtime(np.stack(rows)).shape == (len(levels), 2)
    assert sleeps == pytest.approx([0, 0.255, 0.11])


def test_image_is_decoded_on_the_event_loop(tmp_path: Path) -> None:
    write_model(tmp_path / "sleeping")
    decoder = Decoder(artifact.read(tmp_path / "sleeping").manifest.preprocess, ImageReader())
    assert decoder.decode_tiny(make_image(7)) is not None
