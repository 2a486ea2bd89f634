"""Training learns, the same seed learns the same, and it ends when it gets no better."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from backend.inference.preprocessing.digits import DigitPreprocess
from tests.training.conftest import drawn
from training.data.augmentation import augment
from training.data.digits import NOTHING, Digits
from training.data.sources import Source
from training.fit.checkpoints import Checkpoints
from training.fit.loop import FitError, Fitted, accuracy, calibrated_loss, fit, loss_of, outputs_of
from training.fit.schedule import Schedule

SPEC = DigitPreprocess()
FEW = Schedule(epochs=3, batch=10, rate=3e-3, averaging=0.5)


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(*drawn(200, 5))


def trained(
    folder: Path, source: Digits, check: Digits, schedule: Schedule, share: float = 1.0
) -> Fitted:
    kept = Checkpoints(folder, {})
    return fit(linear(), [Source(source, share)], {"same": check}, SPEC, schedule, kept)


def share_right(network: nn.Module, digits: Digits) -> float:
    return accuracy(outputs_of(network, digits.pixels, SPEC), digits.labels)


def test_a_network_learns_its_digits(digits: Digits, tmp_path: Path) -> None:
    fitted = trained(tmp_path, digits, digits, FEW)
    assert [record["epoch"] for record in fitted.history] == [1, 2, 3]
    assert share_right(fitted.network, digits) > max(0.5, share_right(linear(), digits) + 0.3)


def test_the_same_seed_gives_the_same_weights(digits: Digits, tmp_path: Path) -> None:
    once, twice = (
        trained(tmp_path / name, digits, digits, FEW, 0.5).network.state_dict() for name in "ab"
    )
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_nothing_is_learnt_as_small_odds_of_a_digit(digits: Digits, tmp_path: Path) -> None:
    pixels = np.concatenate([digits.pixels, np.zeros_like(digits.pixels)])
    labels = np.concatenate([digits.labels, np.full(len(digits), NOTHING, np.uint8)])
    schedule = Schedule(epochs=10, batch=10, averaging=0.5)
    network = trained(tmp_path, Digits(pixels, labels), digits, schedule).network
    blank, inked = (
        torch.logsumexp(torch.from_numpy(outputs_of(network, fields, SPEC)), 1)
        for fields in (np.zeros((1, 28, 28), np.uint8), digits.pixels)
    )
    assert blank.max() < 0 < inked.median()


def test_the_loss_is_that_of_an_eleventh_class_whose_logit_is_zero() -> None:
    logits = torch.tensor([[2.0] + [0.0] * 9, [-1.0] * 10])
    eleven = torch.cat([logits, torch.zeros(2, 1)], 1).log_softmax(1)
    expected = -(eleven[0, 0] + eleven[1, NOTHING]) / 2
    torch.testing.assert_close(loss_of(logits, torch.tensor([0, NOTHING])), expected)


def test_the_epoch_with_the_least_validation_loss_is_the_one_that_is_kept(
    digits: Digits, tmp_path: Path
) -> None:
    wrong = Digits(digits.pixels, (9 - digits.labels).astype(np.uint8))
    schedule = Schedule(epochs=9, batch=10, averaging=0.5, stop_after=2, patience=0)
    fitted = trained(tmp_path, digits, wrong, schedule)
    losses = [record["validation_loss"] for record in fitted.history]
    assert fitted.best == 1 + int(np.argmin(losses))
    assert len(fitted.history) == fitted.best + 2, "two epochs without a gain end the training"
    kept = outputs_of(fitted.network, wrong.pixels, SPEC)
    assert calibrated_loss([(kept, wrong.labels)]) == pytest.approx(min(losses))


def test_how_sure_a_network_is_does_not_choose_the_epoch() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (500, 10)).astype(np.float32)
    labels = logits.argmax(1).astype(np.uint8)
    labels[:50] = rng.integers(0, 10, 50)
    shy, bold = (calibrated_loss([(logits * factor, labels)]) for factor in (0.5, 2))
    assert shy == pytest.approx(bold, rel=1e-3)
    assert calibrated_loss([(logits * np.nan, labels)]) != shy


def test_the_rate_falls_when_validation_stands_still(digits: Digits, tmp_path: Path) -> None:
    wrong = Digits(digits.pixels, (9 - digits.labels).astype(np.uint8))
    schedule = Schedule(epochs=5, batch=10, averaging=0.5, stop_after=9, patience=0, factor=0.5)
    rates = [record["rate"] for record in trained(tmp_path, digits, wrong, schedule).history]
    assert rates[0] == pytest.approx(schedule.rate), "the warm-up takes one epoch"
    assert rates[-1] <= schedule.rate / 4


def test_a_loss_that_is_no_number_ends_the_training(digits: Digits, tmp_path: Path) -> None:
    with pytest.raises(FitError, match="epoch 1: the loss is no number"):
        trained(tmp_path, digits, digits, Schedule(epochs=2, rate=1e38))


def test_more_epochs_go_on_from_the_last_one(digits: Digits, tmp_path: Path) -> None:
    trained(tmp_path / "a", digits, digits, Schedule(epochs=1, batch=10))
    parts = trained(tmp_path / "a", digits, digits, Schedule(epochs=3, batch=10))
    whole = trained(tmp_path / "b", digits, digits, Schedule(epochs=3, batch=10))
    once, twice = parts.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert len(parts.history) == 3


def test_augmentation_moves_digits_about_and_keeps_them_digits(digits: Digits) -> None:
    fields = torch.from_numpy(digits.pixels).float()[:, None] / 255
    moved = augment(fields, torch.Generator().manual_seed(0))
    assert moved.shape == fields.shape
    assert 0 <= moved.min() <= moved.max() <= 1.01
    changed = (moved - fields).abs().mean(dim=(1, 2, 3))
    assert (changed > 0.01).float().mean() > 0.7
    assert (moved.sum((1, 2, 3)) > 0.4 * fields.sum((1, 2, 3))).all()
