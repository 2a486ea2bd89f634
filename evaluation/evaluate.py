"""Measure a classifier: labelled samples and a predictor in, an Evaluation out."""

from collections.abc import Iterable, Sequence

import numpy as np
from sklearn.metrics import roc_auc_score

from evaluation.errors import LabelError
from evaluation.metrics import measure
from evaluation.results import Evaluation, Latency, Model, Outliers, Sets
from evaluation.collector import Cancelled, Progress, Run, Samples, unknown_labels
from evaluation.types import Predictor, Record


def evaluate(
    samples: Samples,
    predictor: Predictor,
    *,
    source: str = "",
    total: int | None = None,
    notes: Sequence[str] = (),
    outliers: Samples | None = None,
    outlier_source: str = "",
    progress: Progress = lambda _: None,
    cancelled: Cancelled = lambda: False,
) -> Evaluation:
    """Ask `predictor` about every sample, then about the `outliers`, and measure the answers.

    Samples are streamed: few are held at a time. `progress` is told how many pictures of both are
    done, `cancelled` is asked before each: what was measured until then is the result, and it
    says so. Raises LabelError at a label that the model does not know.
    """
    with Run(predictor.labels) as run, Run(predictor.labels) as other:
        run.ask(samples, predictor, progress, cancelled)
        found = None
        if outliers is not None and not run.stopped:
            done = len(run.records)
            other.ask(outliers, predictor, lambda more: progress(done + more), cancelled)
            found = _outliers(outlier_source, run.records, other.records)
        probabilities, truth = run.labelled()
        records = tuple(run.records)
        return Evaluation(
            model=Model(predictor.name, predictor.version, run.labels),
            source=source,
            total=len(records) if total is None else total,
            records=records,
            seconds=run.seconds,
            stopped=run.stopped or other.stopped,
            notes=tuple(notes),
            metrics=measure(run.labels, probabilities, truth) if len(truth) else None,
            sets=_sets(records, run.coverage),
            flagged=_flagged(records),
            latency=_latency(records, run.seconds),
            mistakes=run.mistakes,
            outliers=found,
        )


def check_labels(found: Iterable[str], known: Sequence[str], above: str | None = None) -> None:
    """Raise LabelError where data has labels that are not `known`, before a model is asked.

    `above` is the folder above the class folders that was passed over, for a hint.
    """
    if unknown := set(found) - set(known):
        hint = f"; the folder {above!r} above these was passed over" if above is not None else ""
        if above in known:
            hint += ": if it is the class, its pictures have to lie in it, not deeper"
        raise LabelError(unknown_labels(unknown, known) + hint)


def _sets(records: Sequence[Record], promised: float | None) -> Sets | None:
    given = [record for record in records if record.in_prediction_set is not None]
    if promised is None or not given:
        return None
    return Sets(
        promised=promised,
        coverage=float(np.mean([record.in_prediction_set for record in given])),
        mean_size=float(np.mean([record.set_size for record in given])),
        count=len(given),
    )


def _flagged(records: Sequence[Record]) -> float | None:
    judged = [record.in_distribution for record in records if record.in_distribution is not None]
    return float(np.mean(np.logical_not(judged))) if judged else None


def _latency(records: Sequence[Record], seconds: float) -> Latency | None:
    each = [record.ms for record in records if record.ms is not None]
    if not each or seconds <= 0:
        return None
    p50, p95, p99 = np.percentile(each, [50, 95, 99])
    return Latency(float(p50), float(p95), float(p99), len(each) / seconds)


def _outliers(source: str, known: Sequence[Record], others: Sequence[Record]) -> Outliers:
    inside, outside = _scores(known), _scores(others)
    auroc = None
    if inside and outside:
        is_outlier = [False] * len(inside) + [True] * len(outside)
        auroc = float(roc_auc_score(is_outlier, inside + outside))
    answered = sum(record.error is None for record in others)
    return Outliers(source, tuple(others), answered, _flagged(others), auroc)


def _scores(records: Sequence[Record]) -> list[float]:
    return [record.ood_score for record in records if record.ood_score is not None]
