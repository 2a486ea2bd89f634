"""The linear head: logistic regression on L2-normalized features."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from calibration import apply
from teach.types import Floats, Indices

REGULARIZATION: Final = 100.0  # scikit-learn's C, see docs/teaching.md
_MAX_ITERATIONS: Final = 1000

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Head:
    """`weight` and `centers` have shape (C, D), `bias` (C,).

    A center is the L2-normalized mean of the features of a class.
    """

    weight: Floats
    bias: Floats
    centers: Floats

    def logits(self, features: Floats) -> Floats:
        """Return logits (N, C) for L2-normalized features (N, D)."""
        logits: Floats = features @ self.weight.T + self.bias
        return logits

    def distances(self, features: Floats) -> Floats:
        """Return the distances (N,) of L2-normalized features (N, D) to the nearest center."""
        return apply.feature_distances(features, self.centers)


def fit(
    features: Floats, truth: Indices, classes: int, background: Floats, none_index: int | None
) -> Head:
    """Train a head on features (N, D) with class indices (N,), each class at least once.

    The `background`, features (M, D) of images of other things, is trained as one more class, whose
    logit is then subtracted from all others. This leaves the probabilities of the classes as they
    are, but makes the energy high for images of other things. The class `none_index`, of images of
    anything else, gets a center that is far from all images.
    """
    # float64 converges reliably; in rotated coordinates there are as many features as images.
    rows = np.concatenate([features, background]).astype(np.float64)
    basis = _row_space(rows)
    targets = np.concatenate([truth, np.full(len(background), classes, np.intp)])
    model = LogisticRegression(C=REGULARIZATION, max_iter=_MAX_ITERATIONS)
    model.fit(rows if basis is None else rows @ basis, targets)
    weight, bias = model.coef_, model.intercept_
    if len(background):
        weight, bias = weight[:-1] - weight[-1], bias[:-1] - bias[-1]
    elif classes == 2:  # scikit-learn returns the difference of the two logits
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    if basis is not None:
        weight = weight @ basis.T
    means = np.stack([features[truth == label].mean(axis=0) for label in range(classes)])
    if none_index is not None:
        means[none_index] = -np.delete(means, none_index, axis=0).mean(axis=0)
    return Head(
        np.ascontiguousarray(weight, np.float32),
        bias.astype(np.float32),
        apply.normalize(means.astype(np.float32, copy=False)),
    )


def _row_space(rows: Doubles) -> Doubles | None:
    """Return an orthonormal basis (D, N) of the span of `rows` (N, D), or None if N >= D.

    The weights of a logistic regression with L2 penalty lie in that span, so that the regression
    in the coordinates of the basis has the same solution, and is faster.
    """
    if len(rows) >= rows.shape[1]:
        return None
    basis: Doubles = np.linalg.qr(rows.T)[0]
    return basis
