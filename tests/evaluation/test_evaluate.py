"""Tests of evaluating a predictor on samples."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from evaluation.collector import MAX_MISTAKES
from evaluation.errors import LabelError, PredictorError
from evaluation.evaluate import evaluate
from evaluation.types import Failure, ModelOutput, Record, Sample, UnreadableSample
from tests.evaluation.fakes import LABELS, FakePredictor, gray_png, model_output, samples

CAT, DOG, OWL = np.eye(3).tolist()


def test_outputs_are_assigned_to_their_images() -> None:
    model = FakePredictor(
        [model_output(0.7, 0.2, 0.1), Failure("damaged"), model_output(0.5, 0.3, 0.2)]
    )
    evaluation = evaluate(samples("cat", "dog", "owl"), model, source="three", total=3)
    assert evaluation.model.labels == LABELS
    assert [record.name for record in evaluation.records] == ["0.png", "1.png", "2.png"]
    correct, failed, wrong = evaluation.records
    assert (correct.prediction, correct.is_correct) == ("cat", True)
    assert correct.confidence == pytest.approx(0.7)
    assert failed == Record("1.png", "dog", error="damaged")
    assert (wrong.prediction, wrong.label, wrong.is_correct) == ("cat", "owl", False)
    assert wrong.label_probability == pytest.approx(0.2)
    assert evaluation.failures == (failed,)
    assert evaluation.metrics is not None
    assert (evaluation.metrics.count, evaluation.metrics.accuracy) == (2, 0.5)
    assert evaluation.stopped is None


def test_unreadable_images_keep_their_position() -> None:
    def mixed() -> Iterator[Sample | UnreadableSample]:
        yield UnreadableSample("first.png", "cat", "gone")
        yield Sample("a.png", gray_png(), "cat")
        yield UnreadableSample("between.png", None, "gone")
        yield Sample("b.png", gray_png(), "dog")
        yield UnreadableSample("last.png", "owl", "gone")

    evaluation = evaluate(mixed(), FakePredictor([model_output(*CAT), model_output(*DOG)]))
    assert [one.name for one in evaluation.records] == [
        "first.png", "a.png", "between.png", "b.png", "last.png"
    ]  # fmt: skip
    assert len(evaluation.failures) == 3
    assert evaluation.metrics is not None
    assert evaluation.metrics.accuracy == 1


def test_coverage_and_size_of_prediction_sets() -> None:
    results: list[ModelOutput | Failure] = [
        model_output(*CAT, prediction_set=("cat",), coverage=0.9),
        model_output(*DOG, prediction_set=("dog", "owl"), coverage=0.9),
        model_output(*DOG, prediction_set=("dog",), coverage=0.9),
        Failure("damaged"),
    ]
    evaluation = evaluate(samples("cat", "owl", "owl", "owl"), FakePredictor(results))
    assert evaluation.sets is not None
    assert (evaluation.sets.promised, evaluation.sets.count) == (0.9, 3)
    assert evaluation.sets.coverage == pytest.approx(2 / 3)
    assert evaluation.sets.mean_size == pytest.approx(4 / 3)
    assert evaluate(samples("cat"), FakePredictor([model_output(*CAT)])).sets is None


def test_outliers_and_flagged_share() -> None:
    inliers = [
        model_output(*CAT, in_distribution=True, ood_score=-5.0),
        model_output(*CAT, in_distribution=False, ood_score=2.0),
    ]
    outliers: list[ModelOutput | Failure] = [
        model_output(*CAT, in_distribution=False, ood_score=3.0),
        Failure("damaged"),
        model_output(*CAT, in_distribution=True, ood_score=1.0),
    ]
    model = FakePredictor([*inliers, *outliers])
    evaluation = evaluate(
        samples("cat", "cat"), model, outliers=samples(None, None, None), outlier_source="walls"
    )
    assert evaluation.flagged == 0.5
    assert evaluation.outliers is not None
    assert (evaluation.outliers.flagged, evaluation.outliers.answered) == (0.5, 2)
    assert (
        evaluation.outliers.auroc == 0.75
    )  # only the pair (2.0, 1.0) of four is in the wrong order
    assert evaluation.outliers.source == "walls"
    assert evaluation.metrics is not None
    assert evaluation.metrics.count == 2


def test_model_without_ood_scores_flags_nothing() -> None:
    evaluation = evaluate(
        samples("cat"), FakePredictor([model_output(*CAT)] * 2), outliers=samples(None)
    )
    assert evaluation.flagged is None
    assert evaluation.outliers is not None
    assert (evaluation.outliers.flagged, evaluation.outliers.auroc) == (None, None)


def test_mistakes_are_sorted_by_confidence_and_have_thumbnails() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0.5, 1, 100)
    model = FakePredictor([model_output(1 - p, p, 0) for p in confidences])
    evaluation = evaluate(samples(*["cat"] * 100), model)
    assert len(evaluation.mistakes) == MAX_MISTAKES
    ranked = [mistake.record.confidence for mistake in evaluation.mistakes]
    assert ranked == pytest.approx(sorted(confidences, reverse=True)[:MAX_MISTAKES])
    assert all(
        str(one.thumbnail).startswith("data:image/png;base64,") for one in evaluation.mistakes
    )


def test_latency_is_per_image_and_throughput_of_the_run() -> None:
    results = [replace(model_output(*CAT), seconds=ms / 1e3) for ms in range(1, 102)]
    evaluation = evaluate(samples(*["cat"] * 101), FakePredictor(results))
    assert evaluation.latency is not None
    assert (
        evaluation.latency.p50,
        evaluation.latency.p95,
        evaluation.latency.p99,
    ) == pytest.approx((51, 96, 100))
    assert evaluation.latency.per_second == pytest.approx(101 / evaluation.seconds)


def test_cancelled_evaluation_is_partial() -> None:
    progress: list[int] = []
    model = FakePredictor([model_output(*CAT)] * 10)
    evaluation = evaluate(
        samples(*["cat"] * 10), model, total=10, outliers=samples(None),
        progress=progress.append, is_cancelled=lambda: len(progress) == 4,
    )  # fmt: skip
    assert (len(evaluation.records), evaluation.total) == (4, 10)
    assert evaluation.stopped == "stopped by the user"
    assert evaluation.metrics is not None
    assert evaluation.outliers is None
    assert progress == [1, 2, 3, 4]


def test_failing_predictor_leaves_a_partial_evaluation() -> None:
    evaluation = evaluate(samples(*["cat"] * 5), FakePredictor([model_output(*CAT)] * 3), total=5)
    assert (len(evaluation.records), evaluation.stopped) == (3, "connection lost")
    with pytest.raises(PredictorError, match="connection lost"):
        evaluate(samples("cat"), FakePredictor([]))


def test_missing_results_are_reported() -> None:
    class IncompletePredictor(FakePredictor):
        def __call__(self, contents: Iterator[bytes]) -> Iterator[ModelOutput | Failure]:
            yield from list(super().__call__(contents))[:1]

    evaluation = evaluate(samples("cat", "dog"), IncompletePredictor([model_output(*CAT)] * 2))
    assert len(evaluation.records) == 1
    assert evaluation.stopped == "the model returned fewer results than images"


def test_unknown_label_raises_label_error() -> None:
    model = FakePredictor([model_output(*CAT)] * 2)
    with pytest.raises(LabelError, match="'cow'; the model's labels are 'cat'"):
        evaluate(samples("cat", "cow"), model)


def test_no_classified_image_gives_no_metrics() -> None:
    evaluation = evaluate(samples("cat"), FakePredictor([Failure("damaged")]))
    assert (evaluation.metrics, evaluation.latency, evaluation.mistakes) == (None, None, ())
    assert evaluate([], FakePredictor([])).records == ()


def test_images_are_released_after_classification() -> None:
    alive, peak = 0, 0

    class CountedBytes(bytes):
        """Bytes that count their live instances."""

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def many() -> Iterator[Sample]:
        nonlocal alive, peak
        for index in range(200):
            content = CountedBytes(gray_png())
            alive += 1
            peak = max(peak, alive)
            yield Sample(f"{index}.png", content, "cat")

    evaluate(many(), FakePredictor([model_output(*DOG)] * 200))
    assert 1 <= peak <= 3


def test_probabilities_of_many_classes_are_stored_on_disk() -> None:
    labels = [f"class {n}" for n in range(1_000)]
    rng = np.random.default_rng(0)
    results = [model_output(*row) for row in rng.dirichlet(np.ones(1_000), 30).astype(np.float32)]
    evaluation = evaluate(samples(*labels[:30]), FakePredictor(results, labels))
    assert evaluation.metrics is not None
    expected = np.mean([one.probabilities.argmax() == index for index, one in enumerate(results)])
    assert evaluation.metrics.accuracy == expected
    assert len(evaluation.metrics.curves) == 30


def test_classes_with_the_same_label_are_merged() -> None:
    """ImageNet has two cranes: the bird and the machine."""
    results = [
        model_output(0.1, 0.5, 0.4),
        model_output(0.4, 0.1, 0.5),
        model_output(0.1, 0.6, 0.3),
    ]
    evaluation = evaluate(
        samples("crane", "crane", "crane"), FakePredictor(results, ("crane", "owl", "crane"))
    )
    assert [record.prediction for record in evaluation.records] == ["owl", "crane", "owl"]
    assert evaluation.records[0].label_probability == pytest.approx(0.4)
    assert evaluation.metrics is not None
    assert evaluation.metrics.labels == evaluation.model.labels == ("crane", "owl")
    assert evaluation.metrics.accuracy == pytest.approx(1 / 3)
