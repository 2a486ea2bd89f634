"""An evaluation as JSON: every figure, without the pictures and the single records."""

from collections import Counter
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from evaluation.metrics import Metrics
from evaluation.results import Evaluation, Outliers
from evaluation.types import Record

FORMAT: Final = 1
NAMED_FAILURES: Final = 100

Object = dict[str, Any]


def document(evaluation: Evaluation) -> Object:
    """The figures as what JSON knows; what was not measured is null.

    `records` and `failures` are counts; up to 100 failures are named.
    """
    failures = evaluation.failures
    return {
        "format": FORMAT,
        "model": asdict(evaluation.model),
        "source": evaluation.source,
        "total": evaluation.total,
        "records": len(evaluation.records),
        "seconds": evaluation.seconds,
        "stopped": evaluation.stopped,
        "notes": list(evaluation.notes),
        "failures": _failures(failures),
        "metrics": _metrics(evaluation.metrics) if evaluation.metrics else None,
        "prediction_sets": asdict(evaluation.sets) if evaluation.sets else None,
        "flagged": evaluation.flagged,
        "latency_ms": asdict(evaluation.latency) if evaluation.latency else None,
        "mistakes": [asdict(mistake.record) for mistake in evaluation.mistakes],
        "outliers": _outliers(evaluation.outliers) if evaluation.outliers else None,
    }


def _failures(failures: tuple[Record, ...]) -> Object:
    return {
        "count": len(failures),
        "reasons": dict(Counter(failure.error for failure in failures).most_common()),
        "first": [{"name": one.name, "error": one.error} for one in failures[:NAMED_FAILURES]],
    }


def _metrics(metrics: Metrics) -> Object:
    return {key: _plain(value) for key, value in asdict(metrics).items()}


def _outliers(outliers: Outliers) -> Object:
    return {
        "source": outliers.source,
        "records": len(outliers.records),
        "answered": outliers.answered,
        "flagged": outliers.flagged,
        "auroc": outliers.auroc,
        "failures": _failures(tuple(one for one in outliers.records if one.error is not None)),
    }


def _plain(value: Any) -> Any:
    """Arrays as lists, however deep they lie."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
