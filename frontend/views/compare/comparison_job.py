"""Two models on the same pictures: measured one after the other. No Streamlit in here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from client import Classification, ModelInfo
from evaluation.compare import Comparison, Measured, compare
from evaluation.errors import EvaluationError
from evaluation.results import Evaluation
from evaluation.types import Record
from frontend.datasets.confusions import MOST_SHOWN
from frontend.datasets.dataset import Labelled
from frontend.datasets.evaluation_job import Backend, Pace, check, run, sentence
from frontend.state.jobs import Job
from frontend.ui.formatting import count, percent

SIGNIFICANT: Final = 0.05
NAMED: Final = 3
WORTH_SHOWING: Final = 0.001  # probability

Change = Callable[[str, str], int]


@dataclass
class Compared:
    """What two models make of the same pictures; `trouble` says why nothing was compared."""

    a: ModelInfo
    b: ModelInfo
    data: Labelled
    evaluations: list[Evaluation] = field(default_factory=list)
    comparison: Comparison | None = None
    trouble: str | None = None

    def close(self) -> None:
        """Give the pictures back."""
        self.data.close()

    @cached_property
    def records(self) -> tuple[Mapping[str, Record], Mapping[str, Record]]:
        """What became of each picture with A and with B, by the picture's name."""
        first, second = (
            {record.name: record for record in evaluation.records}
            for evaluation in self.evaluations
        )
        return first, second

    @property
    def stopped(self) -> str | None:
        """Why it is not about all pictures, None where it is."""
        return next((one.stopped for one in self.evaluations if one.stopped), None)

    @cached_property
    def changed(self) -> tuple[str, ...]:
        """The labels on which the two differ most, in the order of the models."""
        assert self.comparison is not None, "asked for where there is one"  # noqa: S101
        labels, matrix = self.comparison.labels, abs(self.comparison.difference)
        moved = matrix.sum(0) + matrix.sum(1)
        ranked = sorted(range(len(labels)), key=lambda place: -int(moved[place]))[:MOST_SHOWN]
        return tuple(labels[place] for place in sorted(ranked) if moved[place])


def measure_both(
    backends: tuple[Backend, Backend],
    models: tuple[ModelInfo, ModelInfo],
    data: Labelled,
    known: Sequence[Evaluation],
    job: Job,
) -> Compared:
    """Measure two models, but for what is `known` of all these pictures already."""
    found = Compared(*models, data)
    ready = [_known(model, known) for model in models]
    pace = Pace(job, len(data.source) * ready.count(None))
    try:
        for backend, model, evaluation in zip(backends, models, ready, strict=True):
            found.evaluations.append(evaluation or run(backend, model, data, job, pace))
            pace.part()
            if found.stopped:
                break
        if len(found.evaluations) < len(models):
            found.trouble = (
                f"B was not measured, so nothing is compared. {sentence(found.stopped or '')}"
            )
            return found
        a, b = (
            Measured(model.title, evaluation.model.labels, evaluation.records)
            for model, evaluation in zip(models, found.evaluations, strict=True)
        )
        found.comparison = compare(a, b)
        _ = found.records, found.changed  # now, not while a person waits for the page
    except EvaluationError as error:
        found.trouble = sentence(found.stopped or error)
    except BaseException:
        data.close()
        raise
    return found


def _known(model: ModelInfo, known: Sequence[Evaluation]) -> Evaluation | None:
    for one in known:
        if (one.model.name, one.model.version) == (model.name, model.version) and not one.stopped:
            return one
    return None


def check_both(models: tuple[ModelInfo, ModelInfo], data: Labelled) -> None:
    """Raise LabelError, naming the model, where the pictures have labels that it does not know."""
    for model in models:
        try:
            check(model, data)
        except EvaluationError as error:
            raise type(error)(f"{model.title}: {error}") from error


def verdict(found: Comparison) -> str:
    """Say which of the two is better, and how far that can be trusted."""
    a, b = len(found.only_a), len(found.only_b)
    if a == b == 0:
        return "Both are right on the very same pictures."
    alone = (
        f"A alone is right on {count(a, 'picture', 'pictures')}, "
        f"B alone on {count(b, 'picture', 'pictures')}. "
    )
    chance = f"(McNemar's test, p = {found.p_value:.2g})"
    if found.p_value >= SIGNIFICANT:
        return f"{alone}That does not show that either is better {chance}."
    better = "A" if a > b else "B"
    return (
        f"{alone}Equally good models would differ as much by chance in only "
        f"{percent(found.p_value)} of cases {chance}: {better} is better on pictures like these."
    )


def fits(a: ModelInfo, b: ModelInfo) -> str | None:
    """Say which labels only one of two models knows; None where they know the same."""
    told = [
        f"{one.title} knows {_named(only)}, {other.title} does not"
        for one, other in ((a, b), (b, a))
        if (only := sorted(set(one.labels) - set(other.labels)))
    ]
    return f"Their labels differ: {'; '.join(told)}." if told else None


def probabilities(model: ModelInfo, answer: Classification) -> dict[str, float]:
    """Return what a model gives each label, as far as it is told."""
    if answer.probabilities and len(answer.probabilities) == len(model.labels):
        found: dict[str, float] = {}
        for label, probability in zip(model.labels, answer.probabilities, strict=True):
            found[label] = max(probability, found.get(label, 0.0))  # some labels are there twice
        return found
    return {guess.label: guess.probability for guess in answer.top}


def differences(
    a: Mapping[str, float], b: Mapping[str, float], most: int
) -> list[tuple[str, float, float]]:
    """Return the likeliest labels of both with both probabilities, the likeliest first.

    Those that neither gives a thousandth are left out.
    """
    rows = [(label, a.get(label, 0.0), b.get(label, 0.0)) for label in {**a, **b}]
    ranked = sorted(rows, key=lambda row: -max(row[1:]))[:most]
    return [row for row in ranked if max(row[1:]) >= WORTH_SHOWING] or ranked


def largest(rows: Sequence[tuple[str, float, float]]) -> str:
    """Say where the two are furthest apart."""
    label, a, b = max(rows, key=lambda row: abs(row[2] - row[1]))
    points = 100 * abs(b - a)
    if points < 0.1:
        return "Their probabilities are the same to a tenth of a point."
    return (
        f"They are furthest apart on {label}: A gives it {percent(a)}, B {percent(b)}, "
        f"{points:.1f} points {'more' if b > a else 'less'}."
    )


def _named(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - NAMED} more" if len(labels) > NAMED else ""
    return ", ".join(f"“{label}”" for label in labels[:NAMED]) + more
