"""Evaluate two models on the same dataset in a background job. Independent of Streamlit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from client import ModelInfo
from evaluation.compare import Comparison, ModelRecords, compare
from evaluation.errors import EvaluationError
from evaluation.ground_truth import check_same_labels
from evaluation.results import Evaluation
from evaluation.types import Record
from frontend.datasets.dataset import Dataset
from frontend.datasets.evaluation_job import (
    MAX_MATRIX_LABELS,
    EvaluationTarget,
    ProgressReporter,
    as_sentence,
    evaluate_dataset,
    match_dataset_labels,
)
from frontend.state.jobs import Job

MAX_LISTED_LABELS: Final = 3


@dataclass
class ComparisonResult:
    """The evaluations of two models and their comparison, or the `error` that prevented it."""

    a: ModelInfo
    b: ModelInfo
    data: Dataset
    evaluations: list[Evaluation] = field(default_factory=list)
    comparison: Comparison | None = None
    error: str | None = None

    def close(self) -> None:
        """Release the dataset."""
        self.data.close()

    @cached_property
    def records(self) -> tuple[Mapping[str, Record], Mapping[str, Record]]:
        """The records of A and of B by the name of the image."""
        first, second = (
            {record.name: record for record in evaluation.records}
            for evaluation in self.evaluations
        )
        return first, second

    @property
    def stopped(self) -> str | None:
        """Why an evaluation does not cover the whole dataset, or None."""
        return next((one.stopped for one in self.evaluations if one.stopped), None)

    @cached_property
    def changed_labels(self) -> tuple[str, ...]:
        """The labels with the largest changes in the confusion matrix, in the order of labels.

        If there are few labels, these are all of them; no labels if nothing has changed.
        """
        assert self.comparison is not None, "only for a completed comparison"  # noqa: S101
        labels, changes = self.comparison.labels, abs(self.comparison.difference)
        if len(labels) <= MAX_MATRIX_LABELS:
            return tuple(labels) if changes.any() else ()
        totals = changes.sum(0) + changes.sum(1)
        ranked = sorted(range(len(labels)), key=lambda index: -int(totals[index]))
        return tuple(labels[index] for index in sorted(ranked[:MAX_MATRIX_LABELS]) if totals[index])


def evaluate_both(
    targets: tuple[EvaluationTarget, EvaluationTarget],
    models: tuple[ModelInfo, ModelInfo],
    data: Dataset,
    previous: Sequence[Evaluation],
    job: Job,
) -> ComparisonResult:
    """Evaluate and compare two models; `previous` evaluations of the same data are reused."""
    result = ComparisonResult(*models, data)
    reused = [_find_evaluation(model, previous) for model in models]
    reporter = ProgressReporter(job, len(data.source) * reused.count(None))
    try:
        for target, model, evaluation in zip(targets, models, reused, strict=True):
            if evaluation is None:
                evaluation = evaluate_dataset(target, model, data, job, reporter)
            result.evaluations.append(evaluation)
            reporter.start_part()
            if result.stopped:
                break
        if len(result.evaluations) < len(models):
            reason = as_sentence(result.stopped or "")
            result.error = f"B was not evaluated, so there is no comparison. {reason}"
            return result
        a, b = (
            ModelRecords(model.title, evaluation.model.labels, evaluation.records)
            for model, evaluation in zip(models, result.evaluations, strict=True)
        )
        result.comparison = compare(a, b)
        _ = result.records, result.changed_labels  # compute them in the job, not on the page
    except EvaluationError as error:
        result.error = as_sentence(result.stopped or error)
    except BaseException:
        data.close()
        raise
    return result


def check_both(models: tuple[ModelInfo, ModelInfo], data: Dataset) -> None:
    """Raise LabelError, with the model's title, if a model does not have all labels of the data.

    Raise it too if the models name a class differently.
    """
    sources = []
    for model in models:
        try:
            sources.append(match_dataset_labels(model, data))
        except EvaluationError as error:
            raise type(error)(f"{model.title}: {error}") from error
    check_same_labels(*sources)


def describe_label_difference(a: ModelInfo, b: ModelInfo) -> str | None:
    """Return which labels only one of the models has; None if they have the same."""
    differences = [
        f"Only {model.title} has {_list_labels(only)}."
        for model, other in ((a, b), (b, a))
        if (only := sorted(set(model.labels) - set(other.labels)))
    ]
    return f"The models have different labels. {' '.join(differences)}" if differences else None


def _find_evaluation(model: ModelInfo, evaluations: Sequence[Evaluation]) -> Evaluation | None:
    for evaluation in evaluations:
        if (
            evaluation.model.name == model.name
            and evaluation.model.version == model.version
            and not evaluation.stopped
        ):
            return evaluation
    return None


def _list_labels(labels: Sequence[str]) -> str:
    rest = len(labels) - MAX_LISTED_LABELS
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(f"“{label}”" for label in labels[:MAX_LISTED_LABELS]) + more
