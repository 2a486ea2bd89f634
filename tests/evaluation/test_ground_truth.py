"""Tests of matching the classes of a source to the labels of a model."""

import pytest

from evaluation.errors import LabelError
from evaluation.ground_truth import check_same_labels, match_labels
from evaluation.sources.base import Item, Source

LABELS = ("tench", "goldfish", "great white shark", "T-shirt")
IDS = ("n01440764", "n01443537", "n01484850", "n03595614")


def source(*classes: str | None, skipped_folder: str | None = None) -> Source:
    """Return a source with one image of each class."""
    items = [Item(f"{name}/a.png", name) for name in classes]
    return Source("data", items, lambda _: b"", ("a note",), skipped_folder=skipped_folder)


def matched(*classes: str | None, labels: tuple[str, ...] = LABELS) -> list[str | None]:
    return [item.label for item in match_labels(source(*classes), labels, IDS).items]


def test_labels_stay_as_they_are() -> None:
    data = source("goldfish", None)
    assert match_labels(data, LABELS, IDS) is data


def test_wordnet_ids_become_labels() -> None:
    result = match_labels(source("n01443537", "n01440764", None), LABELS, IDS)
    assert [item.label for item in result.items] == ["goldfish", "tench", None]
    assert result.items[0].name == "n01443537/a.png"
    assert result.notes == ("a note", "classes matched by their WordNet ID: 2")


def test_wordnet_id_may_be_followed_by_a_name() -> None:
    assert matched("n01443537-goldfish", "n01440764_tench") == ["goldfish", "tench"]


def test_longer_id_is_unknown() -> None:
    with pytest.raises(LabelError, match="'n014435371'"):
        matched("n014435371")


def test_case_underscores_and_hyphens_do_not_matter() -> None:
    assert matched("Great_White-Shark", "t_shirt") == ["great white shark", "T-shirt"]
    with pytest.raises(LabelError, match="'-1'"):  # often means "unknown"
        matched("-1", labels=("0", "1"))


def test_exact_label_precedes_another_spelling() -> None:
    assert matched("Crane", "crane", labels=("crane", "Crane")) == ["Crane", "crane"]


def test_ambiguous_spelling_is_unknown() -> None:
    with pytest.raises(LabelError, match="'CRANE'"):
        matched("CRANE", labels=("crane", "Crane"))


def test_indices_become_labels_with_a_note() -> None:
    result = match_labels(source("1", "3"), LABELS)
    assert [item.label for item in result.items] == ["goldfish", "T-shirt"]
    assert result.notes[-1] == "class names are indices of the model's labels, 0 is 'tench'"


def test_labels_that_are_numbers_are_not_indices() -> None:
    assert matched("1", "2", labels=("9", "2", "1")) == ["1", "2"]
    with pytest.raises(LabelError, match="'0'"):
        matched("0", "9", labels=("9", "2", "1"))


@pytest.mark.parametrize(
    "classes", [("4",), ("-1",), ("1", "goldfish"), ("\u0661",), ("9" * 5000,)]
)
def test_invalid_indices_are_unknown(classes: tuple[str, ...]) -> None:
    with pytest.raises(LabelError, match="unknown to the model"):
        matched(*classes)


def test_unknown_classes_are_named_with_a_suggestion() -> None:
    with pytest.raises(LabelError) as caught:
        match_labels(source("goldfich", "x", "y", "z", "tench"), LABELS, IDS)
    assert str(caught.value) == (
        "the data has labels that are unknown to the model: 'goldfich', 'x', 'y' and 1 more "
        "(did you mean 'goldfish'?); the model's labels are 'tench', 'goldfish', "
        "'great white shark' ...; WordNet IDs such as n01440764 are also accepted"
    )


def test_skipped_top_folder_is_mentioned() -> None:
    with pytest.raises(LabelError, match="'tench' was not used as a class: to use it, move"):
        match_labels(source("scans", skipped_folder="tench"), LABELS)


def test_models_that_name_a_class_differently_cannot_be_compared() -> None:
    data = source("n01443537")
    other = match_labels(data, ("gold fish",), ("n01443537",))
    check_same_labels(data, data)
    with pytest.raises(LabelError, match="'goldfish' and 'gold fish', so they cannot be compared"):
        check_same_labels(match_labels(data, LABELS, IDS), other)
