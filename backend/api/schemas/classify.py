"""The shapes of the answers: what OpenAPI shows, and the functions that fill them."""

from pydantic import BaseModel, ConfigDict, Field

from backend.catalog import Entry, State
from backend.inference.autotune import Plan
from backend.inference.models.artifact import CARD
from backend.inference.types import Prediction
from calibration.apply import Calibration


class ModelRef(BaseModel):
    """Which model answered."""

    name: str
    version: str


class ClassScore(BaseModel):
    """One class of the answer."""

    label: str
    index: int
    probability: float = Field(ge=0, le=1)


class TimingsMs(BaseModel):
    """Where the time went, in milliseconds."""

    decode: float
    queue: float
    inference: float


class Classification(BaseModel):
    """The answer for one picture."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "01JD3YV5K7Q4M8W2X6Z9B1C0DE",
                "filename": "seven.png",
                "model": {"name": "mnist-cnn", "version": "1"},
                "prediction": "7",
                "confidence": 0.998,
                "top": [
                    {"label": "7", "index": 7, "probability": 0.998},
                    {"label": "1", "index": 1, "probability": 0.001},
                ],
                "probabilities": [0, 0.001, 0, 0, 0, 0, 0, 0.998, 0, 0.001],
                "prediction_set": ["7"],
                "coverage": 0.95,
                "in_distribution": True,
                "ood_score": -9.128403,
                "stored": True,
                "timings_ms": {"decode": 0.6, "queue": 0.1, "inference": 0.5},
            }
        }
    )

    id: str
    filename: str | None
    model: ModelRef
    prediction: str
    confidence: float = Field(ge=0, le=1)
    top: list[ClassScore]
    probabilities: list[float] | None = Field(
        default=None, description="one per class, in label order; absent on request"
    )
    prediction_set: list[str] | None = Field(
        description="holds the right label in `coverage` of all cases, the likeliest first; "
        "null where the model is not calibrated"
    )
    coverage: float | None = Field(description="as a fraction; null where it is not calibrated")
    in_distribution: bool | None = Field(
        description="whether the picture is like what the model knows; null where it cannot tell"
    )
    ood_score: float | None = Field(description="larger: less like that; null where unknown")
    stored: bool | None = Field(
        description="true once it is in the history for good; null where there is none"
    )
    timings_ms: TimingsMs
    model_input: str | None = Field(
        default=None, description="what the model was given, a PNG as data URL; only on request"
    )


class Problem(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:prism:problem:broken_image",
                "title": "Bad Request",
                "status": 400,
                "detail": "The picture is damaged and could not be read. Save it again and send "
                "the new file.",
                "code": "broken_image",
                "request_id": "01JD3YV5K7Q4M8W2X6Z9B1C0DE",
            }
        }
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class ModelInput(BaseModel):
    """What the model eats: the kind of its preprocessing, and (channels, height, width)."""

    kind: str
    shape: list[int]


class ModelInfo(BaseModel):
    """One served model."""

    name: str
    version: str | None = None
    title: str = ""
    description: str = ""
    state: State
    error: str | None = None
    runtime: str | None = None
    architecture: str | None = None
    labels: list[str] = []
    input: ModelInput | None = None
    metrics: dict[str, float] = {}
    calibration: Calibration | None = None
    license: str | None = None


class ModelDetail(ModelInfo):
    """One served model, with its card."""

    card: str | None = Field(default=None, description="the model card, Markdown")
    plan: Plan | None = Field(
        default=None, description="how its work is spread over the processors now"
    )


class Models(BaseModel):
    """What is served."""

    default: str
    models: list[ModelInfo]


class Info(BaseModel):
    """What the service is."""

    name: str
    version: str
    links: dict[str, str]


class Status(BaseModel):
    """One word on how the service is."""

    status: str


PROBLEM_RESPONSES: dict[int | str, dict[str, object]] = {
    "4XX": {
        "description": "The request or its picture is at fault; `code` says how.",
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    },
    "5XX": {
        "description": "The service is not ready, is shutting down, or failed.",
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    },
}


def classification(
    prediction: Prediction,
    *,
    answer_id: str,
    filename: str | None,
    model: ModelRef,
    top_k: int,
    probabilities: bool,
    coverage: float,
) -> dict[str, object]:
    """Fill a `Classification`, as data for orjson, NumPy's floats included.

    Validating one's own answer would only cost time.
    """
    floats = prediction.probabilities
    top = [
        {"label": score.label, "index": score.index, "probability": floats[score.index]}
        for score in prediction.top(top_k)
    ]
    answer: dict[str, object] = {
        "id": answer_id,
        "filename": filename,
        "model": {"name": model.name, "version": model.version},
        "prediction": top[0]["label"],
        "confidence": top[0]["probability"],
        "top": top,
    }
    if probabilities:
        answer["probabilities"] = floats
    timings, score = prediction.timings, prediction.ood_score
    prediction_set = prediction.prediction_set(coverage)
    return answer | {
        "prediction_set": prediction_set,
        "coverage": None if prediction_set is None else coverage,
        "in_distribution": prediction.in_distribution,
        "ood_score": None if score is None else round(score, 6),
        "stored": None,
        "timings_ms": {
            "decode": round(timings.decode, 3),
            "queue": round(timings.queue, 3),
            "inference": round(timings.inference, 3),
        },
    }


def model_detail(entry: Entry) -> ModelDetail:
    """`model_info` with the card, where the model's folder has one."""
    path = entry.folder / CARD if entry.folder and entry.classifier else None
    card = path.read_text("utf-8", "replace") if path and path.is_file() else None
    plan = entry.classifier.plan if entry.classifier else None
    return ModelDetail(**model_info(entry).model_dump(), card=card, plan=plan)


def model_info(entry: Entry) -> ModelInfo:
    """Say what is known of a served model; little while it loads."""
    if entry.classifier is None:
        return ModelInfo(name=entry.name, state=entry.state, error=entry.error)
    manifest = entry.classifier.manifest
    return ModelInfo(
        name=entry.name,
        version=manifest.version,
        title=manifest.title,
        description=manifest.description,
        state=entry.state,
        runtime=entry.classifier.runtime_name,
        architecture=manifest.architecture,
        labels=list(manifest.labels),
        input=ModelInput(
            kind=manifest.preprocess.kind, shape=list(manifest.preprocess.input_shape)
        ),
        metrics=manifest.metrics,
        calibration=manifest.calibration,
        license=manifest.license,
    )
