"""The segmentation network is rendered for, trained and exported for the preprocessing."""

import ast
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from tests.training.data.test_scenes import draw_digits
from training import segmentation
from training.segmentation import DIGIT, NO_DIGIT, NO_MASK, SIDE, SegmentationNetwork


@pytest.fixture(scope="module")
def scenes() -> segmentation.Scenes:
    return segmentation.render_scenes((draw_digits(),), segmentation.CHUNK_SIZE, 0, 1)


def test_rendered_scenes_are_bytes_with_labels(scenes: segmentation.Scenes) -> None:
    images, masks, labels = scenes
    assert images.shape == masks.shape == (segmentation.CHUNK_SIZE, SIDE, SIDE)
    assert images.dtype == masks.dtype == np.uint8
    assert set(labels.tolist()) == {NO_DIGIT, DIGIT, NO_MASK}


def test_augmentation_moves_image_and_mask_alike(scenes: segmentation.Scenes) -> None:
    masks = torch.from_numpy(scenes[1][:32]).float() / 255
    generator = torch.Generator().manual_seed(0)
    images, moved = segmentation.augment(255 * masks, masks, generator)
    assert not torch.equal(moved, masks)
    inverted = (images - 255 * moved).abs().mean((1, 2)) > 50
    images[inverted] = 255 - images[inverted]
    assert (images - 255 * moved).abs().mean() < 6  # noise


def test_training_lowers_the_loss_and_the_graph_equals_the_network(
    scenes: segmentation.Scenes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, masks, labels = (each[:48] for each in scenes)
    part = images, masks, labels
    network = segmentation.train(part, part, epochs=3, batch=16)
    losses = [ast.literal_eval(line)["loss"] for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    path = tmp_path / "segmentation.onnx"
    segmentation.export(network, path)
    session = ort.InferenceSession(path)
    for height, width in ((96, 96), (64, 160)):  # any multiples of 32
        levels = np.random.default_rng(0).integers(0, 256, (1, height, width), dtype=np.uint8)
        (strokes,) = session.run(None, {"levels": levels})
        with torch.inference_mode():
            expected = 255 * torch.sigmoid(network(torch.from_numpy(levels))).numpy()
        assert np.abs(strokes - expected).max() <= 2


def test_network_is_small() -> None:
    assert sum(each.numel() for each in SegmentationNetwork().parameters()) < 80_000
