"""What the backend answers, as frozen dataclasses. Fields that we do not know are let pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from client.errors import BackendError

State = Literal["ready", "loading", "failed"]


@dataclass(frozen=True, slots=True)
class Guess:
    """One label and its probability in [0, 1]; `index` is its place among the model's labels."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True, slots=True)
class ModelRef:
    """The model that answered."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time went, in milliseconds."""

    decode: float
    queue: float
    inference: float


@dataclass(frozen=True, slots=True)
class Classification:
    """The answer for one image.

    `filename` is the name the caller gave. `top` is sorted, the likeliest first. `probabilities`
    are in label order. One of the labels in `prediction_set` is right with the probability
    `coverage`. The larger `ood_score`, the less the image is like what the model knows. What a
    model or a backend does not provide (a prediction set with its coverage, whether the image looks
    like the training data, whether it was stored) is None. `model_input` is what the model was given, as
    the bytes of a PNG, where that was asked for.
    """

    id: str
    filename: str | None
    model: ModelRef
    prediction: str
    confidence: float
    top: tuple[Guess, ...]
    probabilities: tuple[float, ...] | None
    prediction_set: tuple[str, ...] | None
    coverage: float | None
    in_distribution: bool | None
    stored: bool | None
    timings: Timings
    ood_score: float | None = None
    model_input: bytes | None = None


@dataclass(frozen=True, slots=True)
class ItemError:
    """One image of a batch that could not be classified; the others are not affected."""

    filename: str | None
    error: BackendError


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What a model takes: `kind` ("digit", "image", …) and the shape of one input."""

    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes a model's probabilities honest, and on how many pictures that was fitted.

    `mean_set_size` has the number of labels that a prediction set held on average, by coverage:
    these are the coverages that can be asked for. An image whose `ood_score` is larger than
    `max_ood_score` is not of the model's world; None where the model cannot tell.
    """

    temperature: float
    max_ood_score: float | None
    pictures: int
    source: str
    mean_set_size: Mapping[float, float]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One served model. `error` says why its state is "failed"; `metrics` were measured.

    `calibration` is None where the model, or the backend, knows of none.
    """

    name: str
    version: str
    title: str
    description: str
    state: State
    error: str | None
    runtime: str | None
    labels: tuple[str, ...]
    input: InputSpec
    metrics: Mapping[str, float]
    license: str | None
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One served model with its card, Markdown of whoever made it; None where it has none."""

    info: ModelInfo
    card: str | None


@dataclass(frozen=True, slots=True)
class Models:
    """Everything that is served; `default` answers where no model is named."""

    default: str | None
    models: tuple[ModelInfo, ...]

    def get(self, name: str | None) -> ModelInfo | None:
        """Return the model of that name, or None."""
        return next((model for model in self.models if model.name == name), None)


@dataclass(frozen=True, slots=True)
class Info:
    """The service itself."""

    name: str
    version: str
    links: Mapping[str, str]
