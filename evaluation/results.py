"""What an evaluation found out, as plain data."""

from dataclasses import dataclass

from evaluation.metrics import Metrics
from evaluation.types import Record


@dataclass(frozen=True, slots=True)
class Model:
    """What was measured."""

    name: str
    version: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong answer; `thumbnail` is a data URI, None where the picture could not be shrunk."""

    record: Record
    thumbnail: str | None


@dataclass(frozen=True, slots=True)
class Sets:
    """Prediction sets: promised and measured coverage in [0, 1], labels in a set on average."""

    promised: float
    coverage: float
    mean_size: float
    count: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one picture, and pictures per second of the whole run."""

    p50: float
    p95: float
    p99: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Outliers:
    """Pictures that are not of the model's world.

    `flagged` is the share of the answered ones said not to be in distribution, `auroc` the area
    under the curve of the out-of-distribution score between the labelled pictures and these. Each
    is None where the model does not say.
    """

    source: str
    records: tuple[Record, ...]
    answered: int
    flagged: float | None
    auroc: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One classifier on one source.

    `total` pictures were to be measured, `records` has those that were, in order. `stopped` says
    why it is not all of them, None where it is. What could not be measured is None; `flagged` is
    the share of the answered pictures said not to be in distribution.
    """

    model: Model
    source: str
    total: int
    records: tuple[Record, ...]
    seconds: float
    stopped: str | None
    notes: tuple[str, ...]
    metrics: Metrics | None
    sets: Sets | None
    flagged: float | None
    latency: Latency | None
    mistakes: tuple[Mistake, ...]
    outliers: Outliers | None

    @property
    def failures(self) -> tuple[Record, ...]:
        """The pictures without an answer."""
        return tuple(record for record in self.records if record.error is not None)
