"""Evaluation of a predictor on labeled samples."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from sklearn.metrics import roc_auc_score

from evaluation.collector import IsCancelled, Progress, RecordCollector, Samples
from evaluation.label_metrics import measure_labels
from evaluation.metrics import measure
from evaluation.results import Evaluation, Latency, Model, Outliers, PredictionSets
from evaluation.types import Predictor, Record

MULTI_LABEL: Final = "multi-label"  # the task of a model whose images have sets of labels


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
    is_cancelled: IsCancelled = lambda: False,
) -> Evaluation:
    """Classify all samples, then the `outliers`, and measure the results.

    Samples are streamed: only a few are in memory. `progress` is called with the number of images
    done. `is_cancelled` is called before each image; if it returns true, the evaluation covers the
    images done so far and `stopped` is set. Raise LabelError for a label that the model does not
    have.
    """
    several = predictor.task == MULTI_LABEL
    with (
        RecordCollector(predictor.labels, several=several) as labeled,
        RecordCollector(predictor.labels, several=several) as unlabeled,
    ):
        labeled.collect(samples, predictor, progress, is_cancelled)
        outlier_results = None
        if outliers is not None and not labeled.stopped:
            done = len(labeled.records)
            unlabeled.collect(outliers, predictor, lambda n: progress(done + n), is_cancelled)
            outlier_results = _outliers(outlier_source, labeled.records, unlabeled.records)
        metrics, label_metrics = None, None
        if several:
            shares, decisions, masks = labeled.labeled_sets()
            if len(masks):
                label_metrics = measure_labels(labeled.labels, shares, decisions, masks)
        else:
            probabilities, truth = labeled.labeled_probabilities()
            metrics = measure(labeled.labels, probabilities, truth) if len(truth) else None
        records = tuple(labeled.records)
        return Evaluation(
            model=Model(predictor.name, predictor.version, labeled.labels),
            source=source,
            total=len(records) if total is None else total,
            records=records,
            seconds=labeled.seconds,
            stopped=labeled.stopped or unlabeled.stopped,
            notes=tuple(notes),
            metrics=metrics,
            sets=_prediction_sets(records, labeled.coverage),
            flagged=_flagged_share(records),
            latency=_latency(records, labeled.seconds),
            mistakes=labeled.mistakes,
            outliers=outlier_results,
            label_metrics=label_metrics,
        )


def _prediction_sets(records: Sequence[Record], promised: float | None) -> PredictionSets | None:
    with_set = [record for record in records if record.in_prediction_set is not None]
    if promised is None or not with_set:
        return None
    return PredictionSets(
        promised=promised,
        coverage=float(np.mean([record.in_prediction_set for record in with_set])),
        mean_size=float(np.mean([record.set_size for record in with_set])),
        count=len(with_set),
    )


def _flagged_share(records: Sequence[Record]) -> float | None:
    flags = [record.in_distribution for record in records if record.in_distribution is not None]
    return float(np.mean(np.logical_not(flags))) if flags else None


def _latency(records: Sequence[Record], seconds: float) -> Latency | None:
    times = [record.ms for record in records if record.ms is not None]
    if not times or seconds <= 0:
        return None
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    return Latency(float(p50), float(p95), float(p99), len(times) / seconds)


def _outliers(source: str, labeled: Sequence[Record], outliers: Sequence[Record]) -> Outliers:
    inlier_scores, outlier_scores = _ood_scores(labeled), _ood_scores(outliers)
    auroc = None
    if inlier_scores and outlier_scores:
        is_outlier = [False] * len(inlier_scores) + [True] * len(outlier_scores)
        auroc = float(roc_auc_score(is_outlier, inlier_scores + outlier_scores))
    answered = sum(record.error is None for record in outliers)
    return Outliers(source, tuple(outliers), answered, _flagged_share(outliers), auroc)


def _ood_scores(records: Sequence[Record]) -> list[float]:
    return [record.ood_score for record in records if record.ood_score is not None]
