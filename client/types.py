"""Responses of the backend as frozen dataclasses. Unknown JSON fields are ignored."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from .errors import BackendError

ModelState = Literal["ready", "loading", "failed"]


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One label and its probability in [0, 1]; `index` is the position in the model's labels."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Name and version of a model."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Timings:
    """Duration of each stage, in milliseconds."""

    decode: float
    queue: float
    inference: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Which parts of an image influenced `label`, measured with `method`.

    `heatmap` is an 8-bit grayscale PNG file with the proportions of the upright image: 0 is no
    influence, 255 the most.
    """

    method: str
    label: str
    heatmap: bytes


@dataclass(frozen=True, slots=True)
class Classification:
    """The classification of one image.

    `filename` is the name of the upload. `top` is sorted by descending probability; `probabilities`
    are in label order. `prediction_set` contains the right label with the probability `coverage`.
    A larger `ood_score` means that the image is less like the training data. Fields that the model
    or the backend does not provide are None. `model_input` is the preprocessed input of the model
    as a PNG file, and `explanation` what decided, if they were requested.

    `labels` are those of a multi-label model that reach their thresholds, the most probable first;
    None for other models. `prediction` is then the most probable label, even below its threshold.
    """

    id: str
    filename: str | None
    model: ModelRef
    prediction: str
    confidence: float
    top: tuple[ClassScore, ...]
    probabilities: tuple[float, ...] | None
    prediction_set: tuple[str, ...] | None
    coverage: float | None
    in_distribution: bool | None
    stored: bool | None
    timings: Timings
    ood_score: float | None = None
    model_input: bytes | None = None
    explanation: Explanation | None = None
    task: str = "single-label"
    labels: tuple[ClassScore, ...] | None = None


@dataclass(frozen=True, slots=True)
class ItemError:
    """An image of a batch that could not be classified; the other images are not affected."""

    filename: str | None
    error: BackendError


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Input of a model: `kind` ("digit", "image", …) and the shape of one input."""

    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration of a model; `images` is the number of images it was fitted on.

    `mean_set_size` maps each available coverage to the mean number of labels in a prediction set.
    An image whose `ood_score` exceeds `max_ood_score` is out of distribution; None if the model has
    no threshold. `thresholds` are those of the labels of a multi-label model, else None.
    """

    temperature: float
    max_ood_score: float | None
    images: int
    source: str
    mean_set_size: Mapping[float, float]
    thresholds: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Backbone:
    """The network that features come from; `sha256` is the digest of its weights."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A served model. `error` is the reason if `state` is "failed".

    `calibration` is None if the model is not calibrated. `label_ids` holds an identifier for each
    label, such as its WordNet ID, or is None. `precision` is that of the forward passes, "fp32" or
    "int8". `backbone` is that of a head on another model, else None. A `taught` model has versions
    in the registry, and clients can replace or delete it. `task` is "single-label", "binary" or
    "multi-label".
    """

    name: str
    version: str
    title: str
    description: str
    state: ModelState
    error: str | None
    runtime: str | None
    labels: tuple[str, ...]
    input: InputSpec
    metrics: Mapping[str, float]
    license: str | None
    calibration: Calibration | None = None
    label_ids: tuple[str, ...] | None = None
    precision: str | None = None
    backbone: Backbone | None = None
    taught: bool = False
    task: str = "single-label"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A served model with its model card in Markdown; `card` is None if it has none.

    `preprocess` is that field of its manifest, which a model taught on it must have too.
    """

    info: ModelInfo
    card: str | None
    preprocess: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Models:
    """All served models; `default` is used for requests that name no model.

    `auto` names the models that a request for the model "auto" asks in order; it is empty if there
    are none. `store_is_temporary` is whether taught models are lost with the backend's container.
    """

    default: str | None
    models: tuple[ModelInfo, ...]
    auto: tuple[str, ...] = ()
    store_is_temporary: bool = False

    def get(self, name: str | None) -> ModelInfo | None:
        """Return the model called `name`, or None."""
        return next((model for model in self.models if model.name == name), None)


@dataclass(frozen=True, slots=True)
class Embedding:
    """The L2-normalized features of one image, from `backbone`."""

    filename: str | None
    embedding: tuple[float, ...]
    model: ModelRef
    backbone: Backbone


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One stored version of a taught model; `author` and `reason` are None if unknown."""

    name: str
    version: int
    created: datetime
    author: str | None
    reason: str | None
    active: bool
    metrics: Mapping[str, float]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelVersions:
    """All stored versions of a taught model; `active` is the served one, None without one.

    `previous` is the version that was active before, None without one.
    """

    model: str
    active: int | None
    versions: tuple[ModelVersion, ...]
    previous: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """Name and version of the service, and links to its endpoints."""

    name: str
    version: str
    links: Mapping[str, str]
