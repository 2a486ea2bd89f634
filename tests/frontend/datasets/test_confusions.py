"""Which pictures were taken for what."""

from evaluation.types import Record
from frontend.datasets.confusions import MOST_SHOWN, Confusions


def record(true: str | None, predicted: str | None, name: str = "x") -> Record:
    return Record(name, true, prediction=predicted, confidence=0.5)


def test_the_pictures_of_a_cell_are_found() -> None:
    records = [record("7", "1", "a"), record("7", "7", "b"), record("7", "1", "c")]
    found = Confusions(records)
    assert [one.name for one in found.records("7", "1")] == ["a", "c"]
    assert found.count("7", "7") == 1
    assert found.count("1", "7") == 0
    assert not found.records(None, None)


def test_a_whole_row_or_column_is_found_with_the_wrong_ones_first() -> None:
    found = Confusions([record("7", "7", "a"), record("7", "1", "b"), record("1", "1", "c")])
    assert [one.name for one in found.records("7", None)] == ["b", "a"]
    assert [one.name for one in found.records(None, "1")] == ["b", "c"]


def test_what_has_no_label_or_no_answer_is_in_no_cell() -> None:
    assert Confusions([record(None, "1"), record("1", None)]).labels == ()


def test_labels_that_occur_stand_in_the_order_of_the_model() -> None:
    found = Confusions([record("10", "9"), record("2", "2")], order=["2", "9", "10", "11"])
    assert found.labels == ("2", "9", "10")


def test_the_wrong_are_counted_by_their_true_class() -> None:
    found = Confusions([record("7", "1"), record("7", "2"), record("7", "7"), record("1", "1")])
    assert found.wrong == {"7": 2}
    assert found.support == {"7": 3, "1": 1}
    assert found.worst(1) == [(("7", "1"), 1)]


def test_of_a_thousand_classes_the_most_confused_are_shown() -> None:
    order = [f"class {number}" for number in range(1000)]
    right = [record(label, label) for label in order]
    wrong = [record("class 990", "class 3")] * 2 + [record("class 500", "class 501")]
    found = Confusions(right + wrong, order)
    assert len(found.labels) == 1000
    assert len(found.shown) == MOST_SHOWN
    assert {"class 3", "class 990", "class 500", "class 501"} <= set(found.shown)
    assert list(found.shown) == sorted(found.shown, key=order.index)
