"""From samples and a classifier to figures."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from evaluation.errors import LabelError, PredictorError
from evaluation.evaluate import check_labels, evaluate
from evaluation.collector import MISTAKES
from evaluation.types import Answer, Failure, Record, Sample, Unreadable
from tests.evaluation.fakes import LABELS, Scripted, answer, gray, samples

CAT, DOG, OWL = np.eye(3).tolist()


def test_answers_go_to_the_pictures_they_were_given_for() -> None:
    model = Scripted([answer(0.7, 0.2, 0.1), Failure("damaged"), answer(0.5, 0.3, 0.2)])
    found = evaluate(samples("cat", "dog", "owl"), model, source="three", total=3)
    assert found.model.labels == LABELS
    assert [record.name for record in found.records] == ["0.png", "1.png", "2.png"]
    right, failed, wrong = found.records
    assert (right.prediction, right.correct) == ("cat", True)
    assert right.confidence == pytest.approx(0.7)
    assert failed == Record("1.png", "dog", error="damaged")
    assert (wrong.prediction, wrong.label, wrong.correct) == ("cat", "owl", False)
    assert wrong.label_probability == pytest.approx(0.2)
    assert found.failures == (failed,)
    assert found.metrics is not None
    assert (found.metrics.count, found.metrics.accuracy) == (2, 0.5)
    assert found.stopped is None


def test_pictures_that_cannot_be_read_keep_their_place() -> None:
    def some() -> Iterator[Sample | Unreadable]:
        yield Unreadable("first.png", "cat", "gone")
        yield Sample("a.png", gray(), "cat")
        yield Unreadable("between.png", None, "gone")
        yield Sample("b.png", gray(), "dog")
        yield Unreadable("last.png", "owl", "gone")

    found = evaluate(some(), Scripted([answer(*CAT), answer(*DOG)]))
    assert [one.name for one in found.records] == [
        "first.png", "a.png", "between.png", "b.png", "last.png"
    ]  # fmt: skip
    assert len(found.failures) == 3
    assert found.metrics is not None
    assert found.metrics.accuracy == 1


def test_prediction_sets_are_counted_where_the_model_gives_them() -> None:
    given: list[Answer | Failure] = [
        answer(*CAT, prediction_set=("cat",), coverage=0.9),
        answer(*DOG, prediction_set=("dog", "owl"), coverage=0.9),
        answer(*DOG, prediction_set=("dog",), coverage=0.9),
        Failure("damaged"),
    ]
    found = evaluate(samples("cat", "owl", "owl", "owl"), Scripted(given))
    assert found.sets is not None
    assert (found.sets.promised, found.sets.count) == (0.9, 3)
    assert found.sets.coverage == pytest.approx(2 / 3)
    assert found.sets.mean_size == pytest.approx(4 / 3)
    assert evaluate(samples("cat"), Scripted([answer(*CAT)])).sets is None


def test_the_share_flagged_and_the_outliers_are_measured() -> None:
    known = [
        answer(*CAT, in_distribution=True, ood_score=-5.0),
        answer(*CAT, in_distribution=False, ood_score=2.0),
    ]
    foreign: list[Answer | Failure] = [
        answer(*CAT, in_distribution=False, ood_score=3.0),
        Failure("damaged"),
        answer(*CAT, in_distribution=True, ood_score=1.0),
    ]
    model = Scripted([*known, *foreign])
    found = evaluate(
        samples("cat", "cat"), model, outliers=samples(None, None, None), outlier_source="walls"
    )
    assert found.flagged == 0.5
    assert found.outliers is not None
    assert (found.outliers.flagged, found.outliers.answered) == (0.5, 2)
    assert found.outliers.auroc == 0.75  # of four pairs only (2.0, 1.0) is in the wrong order
    assert found.outliers.source == "walls"
    assert found.metrics is not None
    assert found.metrics.count == 2


def test_a_model_that_does_not_say_is_not_said_to_flag() -> None:
    found = evaluate(samples("cat"), Scripted([answer(*CAT)] * 2), outliers=samples(None))
    assert found.flagged is None
    assert found.outliers is not None
    assert (found.outliers.flagged, found.outliers.auroc) == (None, None)


def test_the_worst_mistakes_come_first_with_their_pictures() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 100)
    model = Scripted([answer(1 - p, p, 0) for p in sure])
    found = evaluate(samples(*["cat"] * 100), model)
    assert len(found.mistakes) == MISTAKES
    shown = [mistake.record.confidence for mistake in found.mistakes]
    assert shown == pytest.approx(sorted(sure, reverse=True)[:MISTAKES])
    assert all(str(one.thumbnail).startswith("data:image/png;base64,") for one in found.mistakes)


def test_latency_is_the_models_own_and_throughput_the_runs() -> None:
    given = [replace(answer(*CAT), seconds=ms / 1e3) for ms in range(1, 102)]
    found = evaluate(samples(*["cat"] * 101), Scripted(given))
    assert found.latency is not None
    assert (found.latency.p50, found.latency.p95, found.latency.p99) == pytest.approx((51, 96, 100))
    assert found.latency.per_second == pytest.approx(101 / found.seconds)


def test_cancelling_keeps_what_was_measured_and_says_so() -> None:
    seen: list[int] = []
    model = Scripted([answer(*CAT)] * 10)
    found = evaluate(
        samples(*["cat"] * 10), model, total=10, outliers=samples(None),
        progress=seen.append, cancelled=lambda: len(seen) == 4,
    )  # fmt: skip
    assert (len(found.records), found.total) == (4, 10)
    assert found.stopped == "it was stopped by the user"
    assert found.metrics is not None
    assert found.outliers is None
    assert seen == [1, 2, 3, 4]


def test_a_model_that_goes_away_leaves_what_it_answered() -> None:
    found = evaluate(samples(*["cat"] * 5), Scripted([answer(*CAT)] * 3), total=5)
    assert (len(found.records), found.stopped) == (3, "the machine has gone")
    with pytest.raises(PredictorError, match="the machine has gone"):
        evaluate(samples("cat"), Scripted([]))


def test_fewer_answers_than_pictures_are_not_taken_for_all() -> None:
    class Lazy(Scripted):
        def __call__(self, contents: Iterator[bytes]) -> Iterator[Answer | Failure]:
            yield from list(super().__call__(contents))[:1]

    found = evaluate(samples("cat", "dog"), Lazy([answer(*CAT)] * 2))
    assert len(found.records) == 1
    assert found.stopped == "the model answered fewer pictures than it was given"


def test_a_label_that_the_model_does_not_know_is_named() -> None:
    model = Scripted([answer(*CAT)] * 2)
    with pytest.raises(LabelError, match="these labels of the data: 'cow'; it knows 'cat'"):
        evaluate(samples("cat", "cow"), model)
    with pytest.raises(LabelError, match="'a', 'b', 'c' and 2 more"):
        check_labels(["e", "d", "c", "b", "a", "cat"], model.labels)
    check_labels(["cat"], model.labels)


def test_nothing_with_a_label_and_an_answer_gives_no_metrics() -> None:
    found = evaluate(samples("cat"), Scripted([Failure("damaged")]))
    assert (found.metrics, found.latency, found.mistakes) == (None, None, ())
    assert evaluate([], Scripted([])).records == ()


def test_pictures_are_let_go_of_once_they_are_answered() -> None:
    alive, most = 0, 0

    class Counted(bytes):
        """Bytes that tell when they are let go of."""

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def many() -> Iterator[Sample]:
        nonlocal alive, most
        for index in range(200):
            content = Counted(gray())
            alive += 1
            most = max(most, alive)
            yield Sample(f"{index}.png", content, "cat")

    evaluate(many(), Scripted([answer(*DOG)] * 200))
    assert 1 <= most <= 3


def test_many_classes_are_measured_from_the_disk() -> None:
    labels = [f"class {n}" for n in range(1_000)]
    rng = np.random.default_rng(0)
    given = [answer(*row) for row in rng.dirichlet(np.ones(1_000), 30).astype(np.float32)]
    found = evaluate(samples(*labels[:30]), Scripted(given, labels))
    assert found.metrics is not None
    expected = np.mean([one.probabilities.argmax() == at for at, one in enumerate(given)])
    assert found.metrics.accuracy == expected
    assert len(found.metrics.curves) == 30


def test_classes_of_the_same_label_are_one() -> None:
    """ImageNet has two cranes: the bird and the machine."""
    given = [answer(0.1, 0.5, 0.4), answer(0.4, 0.1, 0.5), answer(0.1, 0.6, 0.3)]
    found = evaluate(samples("crane", "crane", "crane"), Scripted(given, ("crane", "owl", "crane")))
    assert [record.prediction for record in found.records] == ["owl", "crane", "owl"]
    assert found.records[0].label_probability == pytest.approx(0.4)
    assert found.metrics is not None
    assert found.metrics.labels == found.model.labels == ("crane", "owl")
    assert found.metrics.accuracy == pytest.approx(1 / 3)
