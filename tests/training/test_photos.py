"""Conversion of the published weights of EfficientNet-Lite."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from backend.inference.models import artifact
from tests.conftest import ROOT
from training import photos
from training.data.screenshots import draw_screenshot


def test_batch_normalization_is_fused_into_the_convolutions() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, eps=photos.BATCH_NORM_EPSILON)
    )
    layers.train()(torch.randn(8, 3, 9, 9))  # statistics other than 0 and 1
    linear = nn.Linear(2, 5)
    published = [*layers.state_dict().values(), *linear.state_dict().values()]
    fused = photos.fuse_batch_norm(published)
    assert [tuple(tensor.shape) for tensor in fused] == [(4, 3, 3, 3), (4,), (5, 2), (5,)]
    images = torch.randn(2, 3, 9, 9)
    expected = layers.eval()(images)
    torch.testing.assert_close(nn.functional.conv2d(images, fused[0], fused[1]), expected)


def test_other_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "weights.pth"
    torch.save({}, weights)
    inputs = ["--data", "d", "--mnist", "m", "--labels", "l", "--label-ids", "i"]
    with pytest.raises(SystemExit, match="these are not the weights"):
        photos.main(["--weights", str(weights), *inputs, "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        photos.main(["--weights", str(weights)])
    assert "are required" in capsys.readouterr().err


def test_card_states_the_figures_of_the_manifest() -> None:
    model = artifact.read(ROOT / "models" / "photos")
    card = photos.make_card(model.manifest)
    parity = model.manifest.metrics["onnx_parity"]
    assert card.format(parity=parity) == (model.folder / artifact.CARD).read_text()


def test_screenshots_differ() -> None:
    rng = np.random.default_rng(0)
    images = [draw_screenshot(rng) for _ in range(3)]
    assert len({image.tobytes() for image in images}) == 3
