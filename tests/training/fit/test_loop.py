"""Training reduces the loss, is reproducible, and stops when validation stalls."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from backend.inference.preprocessing.digit_crop import DigitPreprocess
from tests.training.small_training import draw_crops
from training.data.augmentation import augment
from training.data.digits import NEGATIVE, Digits
from training.data.sources import TrainingSource
from training.fit.checkpoints import Checkpoints
from training.fit.loop import (
    FitError,
    FitResult,
    Schedule,
    accuracy,
    calibrated_loss,
    compute_logits,
    cross_entropy_with_negatives,
    fit,
)

SPEC = DigitPreprocess()
SHORT = Schedule(epochs=3, batch=10, rate=3e-3, averaging=0.5)


def build_linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(*draw_crops(200, 5))


def train(
    folder: Path, source: Digits, validation: Digits, schedule: Schedule, share: float = 1.0
) -> FitResult:
    sources = [TrainingSource(source, share)]
    checkpoints = Checkpoints(folder, {})
    return fit(build_linear(), sources, {"same": validation}, SPEC, schedule, checkpoints)


def measure_accuracy(network: nn.Module, digits: Digits) -> float:
    return accuracy(compute_logits(network, digits.pixels, SPEC), digits.labels)


def test_training_increases_accuracy(digits: Digits, tmp_path: Path) -> None:
    result = train(tmp_path, digits, digits, SHORT)
    assert [record["epoch"] for record in result.history] == [1, 2, 3]
    assert measure_accuracy(result.network, digits) > max(
        0.5, measure_accuracy(build_linear(), digits) + 0.3
    )


def test_same_seed_gives_same_weights(digits: Digits, tmp_path: Path) -> None:
    once, twice = (
        train(tmp_path / name, digits, digits, SHORT, 0.5).network.state_dict() for name in "ab"
    )
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_blank_crops_get_negative_log_odds_of_a_digit(digits: Digits, tmp_path: Path) -> None:
    pixels = np.concatenate([digits.pixels, np.zeros_like(digits.pixels)])
    labels = np.concatenate([digits.labels, np.full(len(digits), NEGATIVE, np.uint8)])
    schedule = Schedule(epochs=10, batch=10, averaging=0.5)
    network = train(tmp_path, Digits(pixels, labels), digits, schedule).network
    blank, inked = (
        torch.logsumexp(torch.from_numpy(compute_logits(network, crops, SPEC)), 1)
        for crops in (np.zeros((1, 28, 28), np.uint8), digits.pixels)
    )
    assert blank.max() < 0 < inked.median()


def test_loss_has_an_eleventh_class_with_logit_zero() -> None:
    logits = torch.tensor([[2.0] + [0.0] * 9, [-1.0] * 10])
    eleven = torch.cat([logits, torch.zeros(2, 1)], 1).log_softmax(1)
    expected = -(eleven[0, 0] + eleven[1, NEGATIVE]) / 2
    torch.testing.assert_close(
        cross_entropy_with_negatives(logits, torch.tensor([0, NEGATIVE])), expected
    )


def test_weights_of_the_epoch_with_lowest_validation_loss_are_returned(
    digits: Digits, tmp_path: Path
) -> None:
    wrong = Digits(digits.pixels, (9 - digits.labels).astype(np.uint8))
    schedule = Schedule(epochs=9, batch=10, averaging=0.5, stop_after=2, patience=0)
    result = train(tmp_path, digits, wrong, schedule)
    losses = [record["validation_loss"] for record in result.history]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    assert len(result.history) == result.best_epoch + 2, (
        "training stops after two epochs without improvement"
    )
    outputs = compute_logits(result.network, wrong.pixels, SPEC)
    assert calibrated_loss([(outputs, wrong.labels)]) == pytest.approx(min(losses))


def test_calibrated_loss_does_not_depend_on_confidence() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (500, 10)).astype(np.float32)
    labels = logits.argmax(1).astype(np.uint8)
    labels[:50] = rng.integers(0, 10, 50)
    underconfident, overconfident = (
        calibrated_loss([(logits * factor, labels)]) for factor in (0.5, 2)
    )
    assert underconfident == pytest.approx(overconfident, rel=1e-3)
    assert calibrated_loss([(logits * np.nan, labels)]) != underconfident


def test_learning_rate_falls_when_validation_stalls(digits: Digits, tmp_path: Path) -> None:
    wrong = Digits(digits.pixels, (9 - digits.labels).astype(np.uint8))
    schedule = Schedule(epochs=5, batch=10, averaging=0.5, stop_after=9, patience=0, factor=0.5)
    rates = [record["rate"] for record in train(tmp_path, digits, wrong, schedule).history]
    assert rates[0] == pytest.approx(schedule.rate), "the warm-up takes one epoch"
    assert rates[-1] <= schedule.rate / 4


def test_loss_that_is_not_finite_raises_error(digits: Digits, tmp_path: Path) -> None:
    with pytest.raises(FitError, match="epoch 1: the loss is not finite"):
        train(tmp_path, digits, digits, Schedule(epochs=2, rate=1e38))


def test_training_resumes_with_more_epochs(digits: Digits, tmp_path: Path) -> None:
    train(tmp_path / "a", digits, digits, Schedule(epochs=1, batch=10))
    parts = train(tmp_path / "a", digits, digits, Schedule(epochs=3, batch=10))
    whole = train(tmp_path / "b", digits, digits, Schedule(epochs=3, batch=10))
    once, twice = parts.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert len(parts.history) == 3


def test_augmentation_changes_crops_and_keeps_the_ink(digits: Digits) -> None:
    crops = torch.from_numpy(digits.pixels).float()[:, None] / 255
    augmented = augment(crops, torch.Generator().manual_seed(0))
    assert augmented.shape == crops.shape
    assert 0 <= augmented.min() <= augmented.max() <= 1.01
    changed = (augmented - crops).abs().mean(dim=(1, 2, 3))
    assert (changed > 0.01).float().mean() > 0.7
    assert (augmented.sum((1, 2, 3)) > 0.4 * crops.sum((1, 2, 3))).all()
