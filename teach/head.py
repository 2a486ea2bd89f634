"""The linear head: logistic regression on L2-normalized features."""

import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from calibration import apply
from teach.types import Floats, Indices

REGULARIZATION: Final = 100.0  # scikit-learn's C, see docs/teaching.md
MAX_CENTERS: Final = 100  # of a model with fewer classes; 5 kB each
_CLUSTERED: Final = 1_000  # images of a class that its centers are made from
_COMPARED: Final = 2_000  # images that the background is compared with
_LIKE_CLASSES: Final = 0.1  # quantile, see `_find_unlike`
_MAX_ITERATIONS: Final = 1000

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Head:
    """`weight` has shape (C, D), `bias` (C,), `centers` (K, D) and `origin` (D,).

    The centers are the features of the images of the classes, or of groups of similar images, from
    which the origin was subtracted, L2-normalized. The origin is the mean feature of images of
    other things.
    """

    weight: Floats
    bias: Floats
    centers: Floats
    origin: Floats

    def logits(self, features: Floats) -> Floats:
        """Return logits (N, C) for L2-normalized features (N, D)."""
        logits: Floats = features @ self.weight.T + self.bias
        return logits

    def distances(self, features: Floats) -> Floats:
        """Return the distances (N,) of L2-normalized features (N, D) to the nearest center."""
        return apply.feature_distances(features, self.centers, self.origin)


def fit(
    features: Floats, truth: Indices, classes: int, background: Floats, none_index: int | None
) -> Head:
    """Train a head on features (N, D) with class indices (N,), each class at least once.

    The `background`, features (M, D) of images of other things, is trained as one more class, whose
    logit is then subtracted from all others. This leaves the probabilities of the classes as they
    are, but makes the energy high for images of other things. Background images that resemble the
    classes are left out. The class `none_index`, of images of anything else, has no centers.
    """
    origin = background.mean(axis=0) if len(background) else np.zeros_like(features[0])
    relative = apply.normalize(features - origin)
    is_known = truth != (-1 if none_index is None else none_index)
    known, known_truth = relative[is_known], truth[is_known]
    is_unlike = _find_unlike(known, known_truth, apply.normalize(background - origin))
    weight, bias = _fit_linear(features, truth, classes, background[is_unlike])
    return Head(
        np.ascontiguousarray(weight, np.float32),
        bias.astype(np.float32),
        _find_centers(known, known_truth),
        origin,
    )


def _fit_linear(
    features: Floats, truth: Indices, classes: int, background: Floats
) -> tuple[Doubles, Doubles]:
    """Return the weight (C, D) and bias (C,) of a logistic regression."""
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
    return (weight if basis is None else weight @ basis.T), bias


def _find_unlike(known: Floats, truth: Indices, background: Floats) -> Mask:
    """Return which background images do not resemble the classes, shape (M,).

    The background has photographs of many kinds, and so perhaps some of the classes. An image
    resembles them if it is nearer to one of the `known` images than most of these are to the
    nearest other image of their class.
    """
    step = -(-len(known) // _COMPARED)
    known, truth = known[::step], truth[::step]
    similarities = known @ known.T
    np.fill_diagonal(similarities, -np.inf)
    similarities[truth[:, np.newaxis] != truth] = -np.inf
    nearest = similarities.max(axis=1)
    nearest = nearest[np.isfinite(nearest)]
    if not len(nearest) or not len(background):
        return np.ones(len(background), bool)
    is_unlike: Mask = (background @ known.T).max(axis=1) < np.quantile(nearest, _LIKE_CLASSES)
    return is_unlike


def _find_centers(known: Floats, truth: Indices) -> Floats:
    """Return all images, or the L2-normalized centers of groups of them, shape (K, D)."""
    labels = np.unique(truth)
    limit = max(1, MAX_CENTERS // len(labels))
    return np.concatenate([_cluster(known[truth == label], limit) for label in labels])


def _cluster(rows: Floats, limit: int) -> Floats:
    if len(rows) <= limit:
        return rows
    clustered = rows[:: -(-len(rows) // _CLUSTERED)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different images than groups
        means = KMeans(limit, n_init=1, random_state=0).fit(clustered).cluster_centers_
    return apply.normalize(means.astype(np.float32, copy=False))


def _row_space(rows: Doubles) -> Doubles | None:
    """Return an orthonormal basis (D, N) of the span of `rows` (N, D), or None if N >= D.

    The weights of a logistic regression with L2 penalty lie in that span, so that the regression
    in the coordinates of the basis has the same solution, and is faster.
    """
    if len(rows) >= rows.shape[1]:
        return None
    basis: Doubles = np.linalg.qr(rows.T)[0]
    return basis
