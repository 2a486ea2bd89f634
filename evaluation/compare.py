"""Two models on the same pictures: who is right where the other is not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from evaluation.errors import ReportError
from evaluation.metrics import Indices
from evaluation.types import Record

SHOWN: Final = 24


@dataclass(frozen=True, slots=True)
class Measured:
    """One side of a comparison: the model, its labels, what became of each picture."""

    name: str
    labels: tuple[str, ...]
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture on which the two differ; `thumbnail` is a data URI, None without the pictures."""

    name: str
    label: str
    a: str
    b: str
    thumbnail: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two models make of the pictures that both answered.

    `difference` (C, C) is B's confusion matrix less A's, rows are the truth. `agreement` is the
    share of equal predictions. `p_value` is McNemar's, exact and two-sided: how likely so uneven
    a split of the pictures that one alone gets right would be between equally good models.
    `only_a` and `only_b` are these pictures, `shown_a` and `shown_b` the first 24 of them.
    """

    a: str
    b: str
    pictures: int
    left_out: int
    accuracy_a: float
    accuracy_b: float
    both_right: int
    both_wrong: int
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    agreement: float
    p_value: float
    labels: tuple[str, ...]
    difference: Indices
    shown_a: tuple[Pair, ...]
    shown_b: tuple[Pair, ...]


def compare(
    a: Measured, b: Measured, thumbnail: Callable[[str], str | None] = lambda _: None
) -> Comparison:
    """Compare records by the names of the pictures; `thumbnail` makes a small picture of a name.

    Raises ReportError where no picture was answered by both, or a label differs.
    """
    pairs = _pairs(a.records, b.records)
    if not pairs:
        raise ReportError("the two have no picture in common that both answered")
    labels = tuple(dict.fromkeys((*a.labels, *b.labels)))
    truth = [label for _, label, _, _ in pairs]
    matrices = [
        confusion_matrix(truth, [pair[side] for pair in pairs], labels=labels) for side in (2, 3)
    ]
    right_a = np.array([label == first for _, label, first, _ in pairs])
    right_b = np.array([label == second for _, label, _, second in pairs])
    only_a = [pairs[at] for at in np.flatnonzero(right_a & ~right_b)]
    only_b = [pairs[at] for at in np.flatnonzero(right_b & ~right_a)]
    return Comparison(
        a=a.name,
        b=b.name,
        pictures=len(pairs),
        left_out=len({one.name for one in (*a.records, *b.records)}) - len(pairs),
        accuracy_a=float(right_a.mean()),
        accuracy_b=float(right_b.mean()),
        both_right=int((right_a & right_b).sum()),
        both_wrong=int((~right_a & ~right_b).sum()),
        only_a=tuple(name for name, *_ in only_a),
        only_b=tuple(name for name, *_ in only_b),
        agreement=float(np.mean([first == second for _, _, first, second in pairs])),
        p_value=mcnemar(len(only_a), len(only_b)),
        labels=labels,
        difference=matrices[1] - matrices[0],
        shown_a=tuple(Pair(*pair, thumbnail(pair[0])) for pair in only_a[:SHOWN]),
        shown_b=tuple(Pair(*pair, thumbnail(pair[0])) for pair in only_b[:SHOWN]),
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """The exact two-sided p-value of McNemar's test; 1 where the two never differ."""
    differ = only_a + only_b
    return float(binomtest(only_a, differ, 0.5).pvalue) if differ else 1.0


def _pairs(a: Sequence[Record], b: Sequence[Record]) -> list[tuple[str, str, str, str]]:
    """Name, label, and both predictions of the pictures that both answered, in A's order."""
    other = {record.name: record for record in b}
    found = []
    for one in a:
        two = other.get(one.name)
        if two is None or one.label is None or one.prediction is None or two.prediction is None:
            continue
        if one.label != two.label:
            raise ReportError(
                f"{one.name} has the label {one.label!r} in one and {two.label!r} in the other: "
                "the two were not measured on the same data"
            )
        found.append((one.name, one.label, one.prediction, two.prediction))
    return found
