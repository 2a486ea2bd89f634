"""Two models on the same pictures, and on one."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from client import Classification, Client
from evaluation.compare import Comparison, Measured, compare
from evaluation.errors import LabelError
from evaluation.types import Record
from frontend.datasets.dataset import Labelled, keep_zip
from frontend.datasets.evaluation_job import Backend
from frontend.views.compare.comparison_job import (
    Compared,
    check_both,
    differences,
    fits,
    largest,
    measure_both,
    probabilities,
    verdict,
)
from frontend.views.compare.side_by_side import verdict as verdict_on_one
from tests.evaluation.predictors.backends import Reply, line, lines, serving
from tests.frontend.answers import MODEL, answer
from tests.frontend.datasets.test_dataset import Sent
from tests.frontend.datasets.test_evaluation_job import PETS, new_job
from tests.labelled import SEVEN, zipped


@pytest.fixture
def pets() -> Iterator[Labelled]:
    names = ["cat/a.png", "cat/b.png", "dog/c.png"]
    data = keep_zip(Sent("pets.zip", zipped(dict.fromkeys(names, SEVEN))))
    yield data
    data.close()


def records(*predictions: str) -> list[Record]:
    return [Record(f"{i}", "cat", prediction=one) for i, one in enumerate(predictions)]


def compared(a: str, b: str) -> Comparison:
    """Compare on pictures of cats; each letter is what was predicted."""
    names = {"c": "cat", "d": "dog"}
    sides = [
        Measured(name, ("cat", "dog"), records(*(names[letter] for letter in letters)))
        for name, letters in (("A", a), ("B", b))
    ]
    return compare(sides[0], sides[1])


def test_two_models_are_measured_on_the_same_pictures(pets: Labelled) -> None:
    def reply(pictures: list[bytes]) -> Reply:
        return lines(*(line() for _ in pictures))

    job = new_job()
    with serving(reply) as url, Client(url) as client:
        backend = Backend(client, None)
        found = measure_both((backend, backend), (PETS, PETS), pets, [], job)
    assert found.comparison is not None
    assert found.comparison.pictures == 3
    assert (job.done, job.total) == (6, 6)
    again = measure_both((backend, backend), (PETS, PETS), pets, found.evaluations, new_job())
    assert again.comparison is not None  # without asking: the backend is gone


def test_the_labels_that_change_most_are_shown() -> None:
    found = Compared(PETS, PETS, None, comparison=compared("ccc", "cdc"))  # type: ignore[arg-type]
    assert found.changed == ("cat", "dog")
    same = Compared(PETS, PETS, None, comparison=compared("cd", "cd"))  # type: ignore[arg-type]
    assert same.changed == ()


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ("cd", "cd", "Both are right on the very same pictures."),
        ("cc", "cd", "A alone is right on 1 picture, B alone on 0 pictures. That does not show"),
        ("d" * 9, "c" * 9, "in only 0.4 % of cases (McNemar's test, p = 0.0039): B is better"),
        ("c" * 9, "d" * 9, "A is better on pictures like these."),
    ],
)
def test_the_verdict_says_how_far_it_can_be_trusted(a: str, b: str, says: str) -> None:
    assert says in verdict(compared(a, b))


def test_labels_that_only_one_model_knows_are_named() -> None:
    birds = replace(PETS, title="Birds", labels=("owl", "tit", "rook", "wren", "jay"))
    assert fits(PETS, PETS) is None
    told = fits(PETS, birds) or ""
    assert "Pets knows “cat”, “dog”, Birds does not" in told
    assert "Birds knows “jay”, “rook”, “tit” and 1 more, Pets does not" in told


def test_the_model_that_does_not_know_a_label_is_named(pets: Labelled) -> None:
    with pytest.raises(LabelError, match="Birds: the model does not know these labels"):
        check_both((PETS, replace(PETS, title="Birds", labels=("owl",))), pets)


def test_the_probabilities_of_all_labels_are_compared_where_they_are_told() -> None:
    told = answer(("cat", 0.7), probabilities=(0.7, 0.2, 0.1))
    assert probabilities(PETS, told) == {"cat": 0.7, "dog": 0.2, "owl": 0.1}
    assert probabilities(PETS, answer(("cat", 0.7))) == {"cat": 0.7}


def test_labels_that_neither_thinks_of_are_left_out() -> None:
    rows = differences({"7": 0.9, "1": 0.0001, "2": 0.05}, {"7": 0.2, "9": 0.8}, 8)
    assert rows == [("7", 0.9, 0.2), ("9", 0.0, 0.8), ("2", 0.05, 0.0)]


def test_where_two_models_are_furthest_apart_is_told() -> None:
    rows = [("7", 0.9, 0.2), ("9", 0.0, 0.8)]
    assert largest(rows).startswith("They are furthest apart on 9: A gives it 0 %, B 80 %, 80.0")
    assert largest([("7", 0.5, 0.5)]) == "Their probabilities are the same to a tenth of a point."


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (answer(("7", 0.9)), answer(("7", 0.6)), "They agree: both read a 7."),
        (
            answer(("7", 0.9)),
            answer(("8", 0.6)),
            "They disagree: A reads a 7 (90 %), B reads an 8 (60 %).",
        ),
        (
            answer(("7", 0.9)),
            answer(("7", 0.6), in_distribution=False),
            "They disagree: A reads a 7 (90 %), B sees nothing that it knows.",
        ),
        (
            answer(("7", 0.9), in_distribution=False),
            answer(("8", 0.6), in_distribution=False),
            "They agree: this is nothing that either knows.",
        ),
    ],
)
def test_two_answers_agree_or_not(a: Classification, b: Classification, says: str) -> None:
    assert verdict_on_one((MODEL, MODEL), a, b) == says
