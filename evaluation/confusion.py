"""Selections of a confusion matrix, or of the difference of two, for display."""

from collections.abc import Sequence

import numpy as np

from evaluation.metrics import Indices


def restrict(
    matrix: Indices, labels: Sequence[str], limit: int | None = None
) -> tuple[Indices, tuple[str, ...]]:
    """Return the rows and columns, and the labels, of the classes that occur, in order.

    `matrix` has shape (C, C). Of more than `limit` classes, those with the largest sums of absolute
    values outside of the diagonal are kept.
    """
    sizes = np.abs(matrix)
    occurring = np.flatnonzero(sizes.sum(0) + sizes.sum(1))
    if limit is not None and len(occurring) > limit:
        mistakes = sizes - np.diag(np.diag(sizes))
        totals = (mistakes.sum(0) + mistakes.sum(1))[occurring]
        occurring = np.sort(occurring[np.argsort(-totals, kind="stable")[:limit]])
    kept: Indices = matrix[np.ix_(occurring, occurring)]
    return kept, tuple(labels[index] for index in occurring.tolist())
