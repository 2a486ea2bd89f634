"""JSON into answers."""

import base64
import binascii
from typing import Any, cast

from client.errors import BackendError, InvalidAnswer
from client.fields import (
    Object,
    as_flag,
    as_list,
    as_number,
    as_object,
    as_share,
    as_shares,
    as_text,
    as_texts,
    is_number,
    optional,
    words,
)
from client.types import (
    Calibration,
    Classification,
    Guess,
    Info,
    InputSpec,
    ItemError,
    ModelCard,
    ModelInfo,
    ModelRef,
    Models,
    State,
    Timings,
)


def parse_classification(obj: Object, filename: str | None) -> Classification:
    """Read the answer of /classify; `filename` is what the caller called the image."""
    return Classification(
        id=as_text(obj.get("id", ""), "id"),
        filename=filename,
        model=parse_model(obj),
        prediction=as_text(obj.get("prediction"), "prediction"),
        confidence=as_share(obj.get("confidence"), "confidence"),
        top=tuple(parse_guess(item) for item in as_list(obj.get("top"), "top")),
        probabilities=optional(obj, "probabilities", as_shares),
        prediction_set=optional(obj, "prediction_set", as_texts),
        coverage=optional(obj, "coverage", as_share),
        in_distribution=optional(obj, "in_distribution", as_flag),
        stored=optional(obj, "stored", as_flag),
        timings=parse_timings(obj),
        ood_score=optional(obj, "ood_score", as_number),
        model_input=optional(obj, "model_input", _picture),
    )


def parse_item(obj: Object, filename: str | None) -> Classification | ItemError:
    """Read one line of a batch: an answer, or the problem with that one image."""
    if "prediction" in obj:
        return parse_classification(obj, filename)
    return ItemError(filename, parse_problem(obj, status=500))


def parse_problem(obj: Object, *, status: int, retry_after: float | None = None) -> BackendError:
    """Read a problem document, however incomplete; `status` stands in where it names none."""
    own = obj.get("status")
    request_id = obj.get("request_id")
    return BackendError(
        status=own if isinstance(own, int) and not isinstance(own, bool) else status,
        code=words(obj.get("code")),
        title=words(obj.get("title")),
        detail=words(obj.get("detail")),
        request_id=request_id if isinstance(request_id, str) else None,
        retry_after=retry_after,
    )


def parse_models(obj: Object) -> Models:
    """Read the answer of /models."""
    default = obj.get("default")
    return Models(
        default=default if isinstance(default, str) else None,
        models=tuple(_model(item) for item in as_list(obj.get("models"), "models")),
    )


def parse_card(obj: Object) -> ModelCard:
    """Read the answer of /models/{name}."""
    return ModelCard(_model(obj), optional(obj, "card", as_text))


def parse_info(obj: Object) -> Info:
    """Read the answer of /."""
    links = as_object(obj.get("links", {}), "links")
    return Info(
        name=as_text(obj.get("name"), "name"),
        version=str(obj.get("version", "")),
        links={key: value for key, value in links.items() if isinstance(value, str)},
    )


def _model(value: Any) -> ModelInfo:
    obj = as_object(value, "models[]")
    name = as_text(obj.get("name"), "name")
    state = obj.get("state")
    if state not in ("ready", "loading", "failed"):
        raise InvalidAnswer("state is not one of ready, loading, failed")
    spec = as_object(obj.get("input") or {}, "input")
    metrics = as_object(obj.get("metrics") or {}, "metrics")
    return ModelInfo(
        name=name,
        version=str(obj.get("version", "")),
        title=words(obj.get("title")) or name,
        description=words(obj.get("description")),
        state=cast(State, state),
        error=optional(obj, "error", as_text),
        runtime=optional(obj, "runtime", as_text),
        labels=as_texts(obj.get("labels") or [], "labels"),
        input=InputSpec(
            kind=words(spec.get("kind")) or "image",
            shape=tuple(
                int(as_number(n, "shape")) for n in as_list(spec.get("shape", []), "shape")
            ),
        ),
        metrics={key: float(n) for key, n in metrics.items() if is_number(n)},
        license=optional(obj, "license", as_text),
        calibration=optional(obj, "calibration", _calibration),
    )


def _picture(value: Any, field: str) -> bytes:
    """Read a data URL."""
    try:
        return base64.b64decode(as_text(value, field).partition(",")[2], validate=True)
    except binascii.Error as exc:
        raise InvalidAnswer(f"{field} is not a picture") from exc


def _calibration(value: Any, field: str) -> Calibration:
    obj = as_object(value, field)
    sizes = as_object(obj.get("mean_set_size"), "mean_set_size")
    return Calibration(
        temperature=as_number(obj.get("temperature"), "temperature"),
        max_ood_score=optional(obj, "max_ood_score", as_number),
        pictures=int(as_number(obj.get("pictures"), "pictures")),
        source=words(obj.get("source")),
        mean_set_size={
            _coverage(key): as_number(size, "mean_set_size") for key, size in sizes.items()
        },
    )


def _coverage(key: str) -> float:
    """Read a name in `mean_set_size`: JSON has no numbers there."""
    try:
        return as_share(float(key), "mean_set_size")
    except ValueError as exc:
        raise InvalidAnswer("mean_set_size has a coverage that is not a number") from exc


def parse_timings(obj: Object) -> Timings:
    """Read where the time of an answer went."""
    timings = as_object(obj.get("timings_ms", {}), "timings_ms")
    return Timings(*(as_number(timings.get(k, 0.0), k) for k in ("decode", "queue", "inference")))


def parse_model(obj: Object) -> ModelRef:
    """Read which model gave an answer."""
    model = as_object(obj.get("model"), "model")
    return ModelRef(as_text(model.get("name"), "model.name"), str(model.get("version", "")))


def parse_guess(value: Any) -> Guess:
    """Read one of the most probable labels."""
    obj = as_object(value, "top[]")
    return Guess(
        label=as_text(obj.get("label"), "label"),
        index=int(as_number(obj.get("index"), "index")),
        probability=as_share(obj.get("probability"), "probability"),
    )
