"""Results of an evaluation."""

from dataclasses import dataclass
from typing import Final

from evaluation.label_metrics import MultiLabelMetrics
from evaluation.metrics import Metrics
from evaluation.types import Record

MAX_LISTED_FAILURES: Final = 100  # in the JSON and HTML reports


@dataclass(frozen=True, slots=True)
class Model:
    """The evaluated model."""

    name: str
    version: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong prediction; `thumbnail` is a data URI or None."""

    record: Record
    thumbnail: str | None


@dataclass(frozen=True, slots=True)
class PredictionSets:
    """Nominal (`promised`) and measured coverage of prediction sets in [0, 1], and mean size."""

    promised: float
    coverage: float
    mean_size: float
    count: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of the time per image in ms, and images per second of the whole run."""

    p50: float
    p95: float
    p99: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Outliers:
    """Results for images that are out of distribution.

    `answered` is the number of images with a prediction, `flagged` the share of these that the
    model classifies as out of distribution, `auroc` the area under the ROC curve of the
    out-of-distribution score between the labeled images and these. `flagged` and `auroc` are None
    for a model without out-of-distribution scores.
    """

    source: str
    records: tuple[Record, ...]
    answered: int
    flagged: float | None
    auroc: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results of a model on a source.

    `records` has the measured images in order, out of `total`. `stopped` is the reason why some are
    missing, or None. `flagged` is the share of the images with a prediction that the model
    classifies as out of distribution. Metrics that could not be measured are None; `label_metrics`
    are those of a multi-label model, which has no `metrics`.
    """

    model: Model
    source: str
    total: int
    records: tuple[Record, ...]
    seconds: float
    stopped: str | None
    notes: tuple[str, ...]
    metrics: Metrics | None
    sets: PredictionSets | None
    flagged: float | None
    latency: Latency | None
    mistakes: tuple[Mistake, ...]
    outliers: Outliers | None
    label_metrics: MultiLabelMetrics | None = None

    @property
    def failures(self) -> tuple[Record, ...]:
        """The images without a prediction."""
        return tuple(record for record in self.records if record.error is not None)
