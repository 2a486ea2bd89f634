"""Tests of the checks of examples, and of their features."""

import numpy as np
import pytest

from teach import dataset
from teach.dataset import Dataset, clean_label, embed_examples
from teach.errors import TeachCancelled, TeachError
from teach.types import Example, Floats
from tests.teach.examples import DIMENSIONS, CountingEmbed, classes, embed, example


def build(examples: list[Example], cache: dict[str, Floats] | None = None) -> Dataset:
    return embed_examples(
        examples,
        embed,
        DIMENSIONS,
        cache={} if cache is None else cache,
        progress=lambda share: None,
        is_cancelled=lambda: False,
    )


def test_classes_are_sorted_naturally_and_none_of_these_is_last() -> None:
    data = build(classes(["10", "None of these", "9", "b", "A"], 2))
    assert data.labels == ("9", "10", "A", "b", "None of these")
    assert data.none_index == 4
    assert data.counts == (2, 2, 2, 2, 2)


def test_files_that_are_no_images_are_left_out_and_named() -> None:
    bad = [Example("a", b"text", "a/notes.txt"), Example("b", b"", "b/unreadable.png")]
    data = build([*bad, *classes(["a", "b"], 2)])
    assert data.unusable == ("a/notes.txt", "b/unreadable.png")
    assert data.indices == (2, 3, 4, 5)


def test_copies_of_an_image_in_one_class_are_used_once() -> None:
    data = build([*classes(["a", "b"], 2), example("a", 0, 0)])
    assert data.repeated == 1
    assert data.counts == (2, 2)


def test_image_with_two_classes_is_refused_and_both_files_are_named() -> None:
    with pytest.raises(TeachError, match=r"a/0-0.png \(a\) and b/0-0.png \(b\)"):
        build([*classes(["a", "b"], 2), example("b", 0, 0)])


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "None of the files"),
        ([Example("a", b"text", "a.txt")], "None of the files"),
        (classes(["a"], 3), "one class, a: add images of another"),
        ([*classes(["a", "b"], 2), example("c", 3, 0)], "c has fewer than 2 usable images"),
    ],
)
def test_too_few_images_or_classes_are_refused(examples: list[Example], message: str) -> None:
    with pytest.raises(TeachError, match=message):
        build(examples)


def test_more_than_100_classes_are_refused() -> None:
    with pytest.raises(TeachError, match="101 classes; the limit is 100"):
        dataset.check_counts([str(n) for n in range(101)] * 2)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("  ", "has no name"),
        ("a\x07b", r"a\\x07b has characters that cannot be displayed"),
        ("left\u202eright", "cannot be displayed"),
        ("x" * 101, "shorten it to 100"),
    ],
)
def test_labels_that_cannot_be_displayed_are_refused(label: str, message: str) -> None:
    with pytest.raises(TeachError, match=message):
        clean_label(label)


def test_labels_are_composed_and_trimmed() -> None:
    assert clean_label(" cafe\u0301 ") == "caf\xe9"


def test_cached_images_are_not_embedded_again() -> None:
    cache: dict[str, Floats] = {}
    count = CountingEmbed()
    for images in (3, 4):
        embed_examples(
            classes(["a", "b"], images),
            count,
            DIMENSIONS,
            cache=cache,
            progress=lambda share: None,
            is_cancelled=lambda: False,
        )
    assert count.count == 8


def test_cancelling_stops_before_the_next_batch() -> None:
    count = CountingEmbed()
    with pytest.raises(TeachCancelled):
        embed_examples(
            classes(["a", "b"], 40),
            count,
            DIMENSIONS,
            cache={},
            progress=lambda share: None,
            is_cancelled=lambda: count.count > 0,
        )
    assert count.count == dataset.BATCH_IMAGES


@pytest.mark.parametrize("wrong", [np.ones(3), np.full(DIMENSIONS, np.nan)])
def test_features_of_another_size_or_not_finite_are_refused(wrong: Floats) -> None:
    with pytest.raises(TeachError, match="finite numbers"):
        embed_examples(
            classes(["a", "b"], 2),
            lambda contents: [wrong.astype(np.float32) for _ in contents],
            DIMENSIONS,
            cache={},
            progress=lambda share: None,
            is_cancelled=lambda: False,
        )
