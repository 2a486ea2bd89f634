"""The order of the bars in successive classifications. Imports no Streamlit."""

from collections.abc import Sequence

from client import Classification, ClassScore, ModelInfo, ModelRef

MAX_BARS = 10  # a model with more labels shows only some of them
MAX_CHANGING_BARS = 6
WEIGHT = 0.4  # of the newest classification in the running average


class FixedBars:
    """Chooses the bars of successive classifications so that each label keeps its position.

    A model with at most MAX_BARS labels has a bar for each, in label order. Another model has bars
    for up to MAX_CHANGING_BARS labels, in the order of their first appearance. A label without a
    bar replaces the label with the lowest running average of its probability once its own average
    is higher, or at once if it is the prediction.
    """

    def __init__(self) -> None:
        self._reset(None)

    def scores(self, result: Classification, model: ModelInfo) -> Sequence[ClassScore]:
        """Return the label and probability of each bar, in the order of the bars.

        The probability is 0 if the classification does not contain it.
        """
        if len(model.labels) <= MAX_BARS:
            return sorted(result.top, key=lambda score: score.index)
        if result.model != self._model:
            self._reset(result.model)
        probabilities = {score.index: score.probability for score in result.top}
        self._labels |= {score.index: score.label for score in result.top}
        self._update_averages(probabilities)
        for position, score in enumerate(result.top):
            self._place(score.index, is_prediction=position == 0)
        return [
            ClassScore(self._labels[index], index, _probability(result, index, probabilities))
            for index in self._positions
        ]

    def _reset(self, model: ModelRef | None) -> None:
        self._model = model
        self._positions: list[int] = []  # label indices in the order of the bars
        self._averages: dict[int, float] = {}  # running averages by label index
        self._labels: dict[int, str] = {}

    def _update_averages(self, probabilities: dict[int, float]) -> None:
        for index in self._averages.keys() | probabilities.keys():
            newest = probabilities.get(index, 0.0)
            average = self._averages.get(index, newest)
            self._averages[index] = (1 - WEIGHT) * average + WEIGHT * newest

    def _place(self, index: int, *, is_prediction: bool) -> None:
        if index in self._positions:
            return
        if len(self._positions) < MAX_CHANGING_BARS:
            self._positions.append(index)
            return
        lowest = min(self._positions, key=self._averages.__getitem__)
        if is_prediction or self._averages[index] > self._averages[lowest]:
            self._positions[self._positions.index(lowest)] = index


def _probability(result: Classification, index: int, probabilities: dict[int, float]) -> float:
    if result.probabilities is not None and index < len(result.probabilities):
        return result.probabilities[index]
    return probabilities.get(index, 0.0)
