"""The taught models of the benchmark are valid model folders."""

from pathlib import Path

import pytest

from backend.inference.models import artifact
from backend.inference.models.head import read_head
from benchmarks.serving import heads
from benchmarks.serving.assets import model_folder
from benchmarks.serving.systems import PRISM, PRISM_HEADS


def test_heads_are_served_beside_their_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "CACHE", tmp_path)
    backbone = model_folder("photos")
    models = PRISM_HEADS.environment(backbone, 1)["PRISM_MODELS"].split(",")
    assert len(models) == PRISM_HEADS.heads + 1
    assert models[0] == PRISM.environment(backbone, 1)["PRISM_MODELS"] == "photos"
    name, _, folder = models[-1].partition("=")
    model = artifact.read(Path(folder))
    assert name == model.manifest.name == "head-99"
    assert read_head(model).dimensions == 1280
    assert model.manifest.backbone is not None
    assert model.manifest.backbone.sha256 == artifact.read(backbone).network_sha256
