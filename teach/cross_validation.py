"""Cross-validation: outputs for each image from heads that were trained without it."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from teach import head
from teach.dataset import NEAR_DUPLICATE
from teach.types import Floats, Indices

FEW_IMAGES: Final = 100  # up to which there are more folds, and several repetitions
_MAX_COMPARED: Final = 5_000  # images; all pairs are compared

Split = tuple[Indices, Indices]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Outputs of heads for the images they were not trained on, the mean of all repetitions.

    `logits` has shape (N, C) and `distances` (N,); for M background images `background_logits` has
    shape (M, C) and `background_distances` (M,). `is_optimistic` says that images that are nearly
    equal to each other could not be kept in one fold.
    """

    logits: Floats
    distances: Floats
    background_logits: Floats
    background_distances: Floats
    is_optimistic: bool


def cross_validate(
    features: Floats,
    truth: Indices,
    classes: int,
    background: Floats,
    none_index: int | None,
    progress: Callable[[float], None],
) -> HeldOut:
    """Return the held-out outputs for features (N, D) with class indices (N,).

    Each class has two images or more. `progress` is called before each training of a head with the
    share of the work that is done, and may raise an exception to stop.
    """
    folds, repetitions = (10, 5) if len(truth) <= FEW_IMAGES else (5, 1)
    folds = min(folds, int(np.bincount(truth).max()))
    groups = find_near_duplicates(features, truth)
    logits = np.zeros((len(truth), classes), np.float32)
    distances = np.zeros(len(truth), np.float32)
    background_logits = np.zeros((len(background), classes), np.float32)
    background_distances = np.zeros(len(background), np.float32)
    is_optimistic = False
    for repetition in range(repetitions):
        splits = _split_groups(truth, groups, folds, repetition)
        if splits is None:
            is_optimistic = True
            splits = list(_split(truth, folds, repetition))
        held_out = np.random.default_rng(repetition).permutation(len(background)) % len(splits)
        for fold, (train, test) in enumerate(splits):
            progress((repetition + fold / len(splits)) / repetitions)
            is_other = held_out == fold
            others = background[~is_other]
            trained = head.fit(features[train], truth[train], classes, others, none_index)
            logits[test] += trained.logits(features[test]) / repetitions
            distances[test] += trained.distances(features[test]) / repetitions
            other = background[is_other]
            background_logits[is_other] += trained.logits(other) / repetitions
            background_distances[is_other] += trained.distances(other) / repetitions
    return HeldOut(logits, distances, background_logits, background_distances, is_optimistic)


def find_near_duplicates(features: Floats, truth: Indices) -> Indices:
    """Return a group for each image, shape (N,); nearly equal images of a class share one.

    Consecutive images of a camera are nearly equal. More than _MAX_COMPARED images are not
    compared.
    """
    if len(features) > _MAX_COMPARED:
        return np.arange(len(features))
    is_close = (features @ features.T >= NEAR_DUPLICATE) & (truth[:, np.newaxis] == truth)
    groups: Indices = connected_components(csr_array(is_close), directed=False)[1]
    return groups


def _split_groups(truth: Indices, groups: Indices, folds: int, seed: int) -> list[Split] | None:
    """Return the folds, or None if a group cannot be kept in one fold."""
    count = len(np.unique(groups))
    if count == len(groups):
        return list(_split(truth, folds, seed))
    splitter = StratifiedGroupKFold(min(folds, count), shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer images than folds
        splits = [split for split in splitter.split(truth, truth, groups) if len(split[1])]
    has_all_classes = all(len(np.unique(truth[train])) > truth.max() for train, _ in splits)
    return splits if has_all_classes else None


def _split(truth: Indices, folds: int, seed: int) -> Iterator[Split]:
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer images than folds
        yield from splitter.split(truth, truth)
