"""The background of taught models: features of photographs and of generated images."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pytest

from teach import background as teach_background
from teach.types import Floats
from tests.images import encoded, seven
from tests.teach.examples import BACKBONE, others
from training import background


class FakeEmbedding:
    """Stands for LocalEmbedding; the last image is unusable."""

    backbone = BACKBONE

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> "FakeEmbedding":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        pass

    def __call__(self, contents: Sequence[bytes]) -> list[Floats | None]:
        assert all(contents)
        return [*np.abs(others(len(contents) - 1)), None]


def test_features_of_photographs_and_generated_images_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(encoded(seven()))
    file = tmp_path / "background.safetensors"
    monkeypatch.setattr(teach_background, "FILE", file)
    monkeypatch.setattr(background, "LocalEmbedding", FakeEmbedding)
    monkeypatch.setattr(background, "PHOTOGRAPHS", 3)
    monkeypatch.setattr(background, "GENERATED", 1)
    teach_background._read.cache_clear()
    try:
        background.main([str(tmp_path)])
        rows = teach_background.load(BACKBONE)
    finally:
        teach_background._read.cache_clear()
    count = 3 + 8 - 1
    assert f"{count} images" in capsys.readouterr().out
    np.testing.assert_allclose(rows, np.abs(others(count)), atol=0.02)  # stored in 8 bits
