"""Comparison of two models on the same images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from evaluation.errors import ReportError
from evaluation.intervals import Interval, paired_difference
from evaluation.metrics import Indices
from evaluation.types import Record

MAX_EXAMPLES: Final = 24


@dataclass(frozen=True, slots=True)
class ModelRecords:
    """One side of a comparison: the model's name, labels and records."""

    name: str
    labels: tuple[str, ...]
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An image with different predictions `a` and `b`; `thumbnail` is a data URI or None."""

    name: str
    label: str
    a: str
    b: str
    thumbnail: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison of models A and B on the images that both classified.

    `accuracy_difference` is the 95% interval of B's minus A's accuracy, paired by image. `only_a`
    and `only_b` are the images that only one model classifies correctly, `examples_a` and
    `examples_b` the first 24 of them. `left_out` is the number of images without a prediction of
    both models. `agreement` is the share of equal predictions. `difference` (C, C) is B's confusion
    matrix minus A's, rows are the true classes. `p_value` is the exact two-sided p-value of
    McNemar's test: the probability of a split of `only_a` and `only_b` at least this uneven between
    equally good models.
    """

    a: str
    b: str
    image_count: int
    left_out: int
    accuracy_a: float
    accuracy_b: float
    accuracy_difference: Interval
    both_right: int
    both_wrong: int
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    agreement: float
    p_value: float
    labels: tuple[str, ...]
    difference: Indices
    examples_a: tuple[Disagreement, ...]
    examples_b: tuple[Disagreement, ...]


def compare(
    a: ModelRecords, b: ModelRecords, thumbnail: Callable[[str], str | None] = lambda _: None
) -> Comparison:
    """Compare records by image name; `thumbnail` returns the data URI for a name.

    Raise ReportError if both have no image in common, or an image has different labels.
    """
    pairs = _match(a.records, b.records)
    if not pairs:
        raise ReportError("the reports have no image in common that both models classified")
    labels = tuple(dict.fromkeys((*a.labels, *b.labels)))
    truth = [label for _, label, _, _ in pairs]
    matrices = [
        confusion_matrix(truth, [pair[side] for pair in pairs], labels=labels) for side in (2, 3)
    ]
    is_correct_a = np.array([label == first for _, label, first, _ in pairs])
    is_correct_b = np.array([label == second for _, label, _, second in pairs])
    only_a = [pairs[index] for index in np.flatnonzero(is_correct_a & ~is_correct_b)]
    only_b = [pairs[index] for index in np.flatnonzero(is_correct_b & ~is_correct_a)]
    return Comparison(
        a=a.name,
        b=b.name,
        image_count=len(pairs),
        left_out=len({record.name for record in (*a.records, *b.records)}) - len(pairs),
        accuracy_a=float(is_correct_a.mean()),
        accuracy_b=float(is_correct_b.mean()),
        accuracy_difference=paired_difference(len(only_a), len(only_b), len(pairs)),
        both_right=int((is_correct_a & is_correct_b).sum()),
        both_wrong=int((~is_correct_a & ~is_correct_b).sum()),
        only_a=tuple(name for name, *_ in only_a),
        only_b=tuple(name for name, *_ in only_b),
        agreement=float(np.mean([first == second for _, _, first, second in pairs])),
        p_value=mcnemar(len(only_a), len(only_b)),
        labels=labels,
        difference=matrices[1] - matrices[0],
        examples_a=tuple(Disagreement(*pair, thumbnail(pair[0])) for pair in only_a[:MAX_EXAMPLES]),
        examples_b=tuple(Disagreement(*pair, thumbnail(pair[0])) for pair in only_b[:MAX_EXAMPLES]),
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p-value of McNemar's test; 1 without discordant pairs."""
    discordant = only_a + only_b
    return float(binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0


def _match(a: Sequence[Record], b: Sequence[Record]) -> list[tuple[str, str, str, str]]:
    """Return name, label and both predictions of the images that both classified, in A's order."""
    records_b = {record.name: record for record in b}
    pairs = []
    for one in a:
        two = records_b.get(one.name)
        if two is None or one.label is None or one.prediction is None or two.prediction is None:
            continue
        if one.label != two.label:
            raise ReportError(
                f"{one.name} has different labels, {one.label!r} and {two.label!r}: "
                "the models were not measured on the same data"
            )
        pairs.append((one.name, one.label, one.prediction, two.prediction))
    return pairs
