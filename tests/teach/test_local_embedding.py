"""Tests of the features from a local model folder."""

from pathlib import Path

import numpy as np
import pytest

from teach.errors import TeachError
from teach.local_embedding import LocalEmbedding
from tests.conftest import ROOT


def test_features_of_the_shipped_backbone() -> None:
    examples = ROOT / "frontend" / "examples"
    contents = [(examples / name).read_bytes() for name in ("cat.jpg", "rocket.jpg")]
    with LocalEmbedding(ROOT / "models" / "photos") as embed:
        cat, text, rocket = embed([contents[0], b"text", contents[1]])
        assert embed.backbone.dimensions == 1280
    assert text is None
    assert cat is not None
    assert rocket is not None
    np.testing.assert_allclose(np.linalg.norm([cat, rocket], axis=1), 1, atol=1e-5)
    assert cat @ rocket < 0.6


def test_model_without_features_is_refused() -> None:
    with pytest.raises(TeachError, match="cannot be a backbone"):
        LocalEmbedding(ROOT / "models" / "mnist-mlp")


def test_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TeachError, match="not a model folder"):
        LocalEmbedding(tmp_path / "photos")
