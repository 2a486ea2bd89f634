"""Tests of the linear head."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from calibration import apply
from teach import head
from teach.types import Floats, Indices
from tests.teach.examples import DIMENSIONS, features, others

EMPTY = np.empty((0, DIMENSIONS), np.float32)


def cluster(classes: int, images: int) -> tuple[Floats, Indices]:
    rows = [features(axis, seed, 0.3) for axis in range(classes) for seed in range(images)]
    return np.stack(rows), np.repeat(np.arange(classes), images)


@pytest.mark.parametrize("images", [5, 20])  # fewer and more images than features
@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_those_of_scikit_learn(classes: int, images: int) -> None:
    rows, truth = cluster(classes, images)
    trained = head.fit(rows, truth, classes, EMPTY, None)
    model = LogisticRegression(C=head.REGULARIZATION, max_iter=1000, tol=1e-6).fit(rows, truth)
    ours = apply.probabilities(trained.logits(rows), "logits")
    np.testing.assert_allclose(ours, model.predict_proba(rows), atol=0.01)


def test_background_raises_the_energy_of_other_images_only() -> None:
    rows, truth = cluster(2, 10)
    background = others(40)
    trained = head.fit(rows, truth, 2, background[::2], None)
    energies = [apply.ood_scores(trained.logits(each)) for each in (rows, background[1::2])]
    assert np.quantile(energies[0], 0.9) < np.quantile(energies[1], 0.1)
    assert (trained.logits(rows).argmax(axis=1) == truth).all()


def test_centers_are_normalized_and_other_images_are_far_from_all() -> None:
    rows, truth = cluster(3, 5)
    trained = head.fit(rows, truth, 3, EMPTY, none_index=2)
    np.testing.assert_allclose(np.linalg.norm(trained.centers, axis=1), 1, atol=1e-5)
    distances = trained.distances(rows)
    assert distances[truth == 2].min() > distances[truth != 2].max()
