"""The order of bars in successive classifications."""

from dataclasses import replace

from client import ClassScore
from frontend.ui.bar_order import MAX_CHANGING_BARS, FixedBars
from tests.frontend.samples import MODEL, make_classification

MANY = replace(MODEL, labels=tuple(f"label {i}" for i in range(1000)))


def labels(bars: FixedBars, *scores: tuple[int, float]) -> list[int]:
    """Return the label indices of the bars for a classification with these scores."""
    top = tuple(ClassScore(MANY.labels[index], index, p) for index, p in scores)
    result = replace(make_classification(("label", 1.0)), top=top)
    return [score.index for score in bars.scores(result, MANY)]


def test_few_labels_are_in_label_order() -> None:
    top = (ClassScore("7", 7, 0.6), ClassScore("1", 1, 0.3), ClassScore("9", 9, 0.1))
    result = replace(make_classification(("7", 0.6)), top=top)
    assert [score.label for score in FixedBars().scores(result, MODEL)] == ["1", "7", "9"]


def test_many_labels_keep_their_positions_while_probabilities_change() -> None:
    bars = FixedBars()
    assert labels(bars, (5, 0.6), (3, 0.4)) == [5, 3]
    assert labels(bars, (3, 0.9), (8, 0.1)) == [5, 3, 8]
    assert labels(bars, (8, 0.5), (3, 0.3), (5, 0.2)) == [5, 3, 8]


def test_prediction_without_a_bar_replaces_the_lowest_label() -> None:
    bars = FixedBars()
    first = [(i, 0.3 - 0.04 * i) for i in range(MAX_CHANGING_BARS)]
    shown = labels(bars, *first)
    assert labels(bars, (99, 0.9)) == [*shown[:-1], 99]


def test_bar_of_an_absent_label_has_its_probability_or_zero() -> None:
    bars = FixedBars()
    labels(bars, (0, 0.9), (1, 0.1))
    later = replace(make_classification(("label 0", 1.0)), probabilities=(0.95, 0.05))
    assert [score.probability for score in bars.scores(later, MANY)] == [0.95, 0.05]
    later = replace(later, probabilities=None)
    assert [score.probability for score in bars.scores(later, MANY)] == [1.0, 0.0]


def test_another_model_starts_anew() -> None:
    bars = FixedBars()
    labels(bars, (5, 0.6), (3, 0.4))
    other = replace(
        make_classification(("label 0", 1.0)),
        model=replace(make_classification(("a", 1)).model, name="b"),
    )
    assert [score.index for score in bars.scores(other, MANY)] == [0]
