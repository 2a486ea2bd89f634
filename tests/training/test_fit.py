"""Training learns, and the same seed learns the same."""

import numpy as np
import pytest
import torch
from torch import nn

from backend.inference.digits import DigitPreprocess
from tests.training.conftest import drawn
from training.augment import augment
from training.data import NOTHING, Digits
from training.fit import Schedule, accuracy, fit
from training.sources import Source

SPEC = DigitPreprocess()
FEW = Schedule(epochs=3, batch=10, rate=3e-3, averaging=0.5)


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(*drawn(200, 5))


def test_a_network_learns_its_digits(digits: Digits) -> None:
    before = accuracy(linear(), digits, SPEC)
    seen: list[int] = []
    trained = fit(linear(), [Source(digits, 1.0)], SPEC, FEW, lambda epoch, _: seen.append(epoch))
    assert seen == [1, 2, 3]
    assert accuracy(trained, digits, SPEC) > max(0.5, before + 0.3)


def test_the_same_seed_gives_the_same_weights(digits: Digits) -> None:
    once, twice = (
        fit(linear(), [Source(digits, 0.5)], SPEC, FEW, lambda *_: None).state_dict()
        for _ in range(2)
    )
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_what_is_nothing_is_learnt_as_every_class_alike() -> None:
    blank = Digits(np.zeros((100, 28, 28), np.uint8), np.full(100, NOTHING, np.uint8))
    trained = fit(
        linear(), [Source(blank, 1.0)], SPEC, Schedule(epochs=30, batch=50), lambda *_: None
    )
    inputs = torch.full((1, 1, 28, 28), -SPEC.mean / SPEC.std)
    assert trained(inputs).softmax(1).max() < 0.2


def test_augmentation_moves_digits_about_and_keeps_them_digits(digits: Digits) -> None:
    fields = torch.from_numpy(digits.pixels).float()[:, None] / 255
    moved = augment(fields, torch.Generator().manual_seed(0))
    assert moved.shape == fields.shape
    assert 0 <= moved.min() <= moved.max() <= 1.01
    changed = (moved - fields).abs().mean(dim=(1, 2, 3))
    assert (changed > 0.01).float().mean() > 0.7
    assert (moved.sum((1, 2, 3)) > 0.4 * fields.sum((1, 2, 3))).all()
