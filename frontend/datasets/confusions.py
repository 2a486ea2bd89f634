"""Which pictures were taken for what, indexed once. No Streamlit in here."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from evaluation.types import Record

MOST_SHOWN: Final = 20  # classes in a matrix that can still be read

Pair = tuple[str, str]


class Confusions:
    """Records by true label and prediction; `labels` are those that occur, in order of `order`."""

    def __init__(self, records: Sequence[Record], order: Sequence[str] = ()) -> None:
        cells: defaultdict[Pair, list[Record]] = defaultdict(list)
        for record in records:
            if record.label is not None and record.prediction is not None:
                cells[record.label, record.prediction].append(record)
        self._cells: Final = dict(cells)
        self.support: Final = Counter[str]()
        self.wrong: Final = Counter[str]()
        for (true, predicted), found in self._cells.items():
            self.support[true] += len(found)
            if true != predicted:
                self.wrong[true] += len(found)
        place = {label: index for index, label in enumerate(order)}
        occurring = {label for pair in self._cells for label in pair}
        self.labels: Final = tuple(
            sorted(occurring, key=lambda label: (place.get(label, len(place)), label))
        )

    def records(self, true: str | None, predicted: str | None) -> Sequence[Record]:
        """Return the pictures of one cell; of a row or a column, the wrong ones first, where only
        one label is given.
        """
        if true is not None and predicted is not None:
            return self._cells.get((true, predicted), ())
        found = [
            record
            for pair, records in self._cells.items()
            if (true, predicted) in ((pair[0], None), (None, pair[1]))
            for record in records
        ]
        return sorted(found, key=lambda record: record.correct)

    def count(self, true: str, predicted: str) -> int:
        """Return how many pictures of one class were taken for another."""
        return len(self._cells.get((true, predicted), ()))

    @property
    def shown(self) -> tuple[str, ...]:
        """The labels that a matrix has room for: the most confused, in their order."""
        if len(self.labels) <= MOST_SHOWN:
            return self.labels
        confused = [label for pair, _ in self.worst(MOST_SHOWN) for label in pair]
        most = set(list(dict.fromkeys([*confused, *self.labels]))[:MOST_SHOWN])
        return tuple(label for label in self.labels if label in most)

    def worst(self, count: int) -> list[tuple[Pair, int]]:
        """Return the most frequent confusions."""
        wrong = {pair: len(found) for pair, found in self._cells.items() if pair[0] != pair[1]}
        return sorted(wrong.items(), key=lambda item: -item[1])[:count]
