"""Parsing of the backend's JSON. A field that does not fit raises InvalidResponse with its name."""

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast

from .errors import BackendError, InvalidResponse
from .types import (
    Backbone,
    Calibration,
    Classification,
    ClassScore,
    Embedding,
    Explanation,
    InputSpec,
    ItemError,
    ModelCard,
    ModelInfo,
    ModelRef,
    Models,
    ModelState,
    ModelVersion,
    ModelVersions,
    ServiceInfo,
    Timings,
)

Object = dict[str, Any]
T = TypeVar("T")

_MAX_RETRY_AFTER = 1e9  # s; time.sleep and others refuse more than 9.2e9


def parse_object(text: str | bytes) -> Object:
    """Parse one JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidResponse("the response is not JSON") from exc
    return as_object(value, "the response")


def optional(obj: Object, field: str, parse: Callable[[Any, str], T]) -> T | None:
    """Parse a field that may be null or absent."""
    value = obj.get(field)
    return None if value is None else parse(value, field)


def as_object(value: Any, field: str) -> Object:
    """Return `value` as a JSON object."""
    if not isinstance(value, dict):
        raise InvalidResponse(f"{field} is not an object")
    return value


def as_list(value: Any, field: str) -> list[Any]:
    """Return `value` as a list."""
    if not isinstance(value, list):
        raise InvalidResponse(f"{field} is not a list")
    return value


def as_string(value: Any, field: str) -> str:
    """Return `value` as a string."""
    if not isinstance(value, str):
        raise InvalidResponse(f"{field} is not a string")
    return value


def as_strings(value: Any, field: str) -> tuple[str, ...]:
    """Return `value` as a tuple of strings."""
    return tuple(as_string(item, field) for item in as_list(value, field))


def string_or_empty(value: Any) -> str:
    """Return `value` if it is a string, else ""."""
    return value if isinstance(value, str) else ""


def as_bool(value: Any, field: str) -> bool:
    """Return `value` as a bool."""
    if not isinstance(value, bool):
        raise InvalidResponse(f"{field} is neither true nor false")
    return value


def is_number(value: Any) -> bool:
    """Return whether `value` is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def as_number(value: Any, field: str) -> float:
    """Return `value` as a finite float."""
    if not is_number(value):
        raise InvalidResponse(f"{field} is not a number")
    return float(value)


def as_fraction(value: Any, field: str) -> float:
    """Return `value` as a float within [0, 1]; rounding errors are clipped."""
    number = as_number(value, field)
    if not -1e-3 <= number <= 1 + 1e-3:
        raise InvalidResponse(f"{field} is not within [0, 1]")
    return min(1.0, max(0.0, number))


def as_fractions(value: Any, field: str) -> tuple[float, ...]:
    """Return `value` as a tuple of floats within [0, 1]."""
    return tuple(as_fraction(item, field) for item in as_list(value, field))


def parse_classification(obj: Object, filename: str | None) -> Classification:
    """Parse a response of /classify; `filename` is the name of the uploaded image."""
    return Classification(
        **parse_result(obj),
        id=as_string(obj.get("id", ""), "id"),
        filename=filename,
        probabilities=optional(obj, "probabilities", as_fractions),
        task=_task(obj),
        stored=optional(obj, "stored", as_bool),
        model_input=optional(obj, "model_input", _data_url),
        explanation=optional(obj, "explanation", _explanation),
    )


def parse_result(obj: Object) -> dict[str, Any]:
    """Parse the fields that `Classification` and `StoredClassification` have in common."""
    timings = as_object(obj.get("timings_ms", {}), "timings_ms")
    stages = ("decode", "queue", "inference")
    return {
        "model": _model_ref(obj),
        "prediction": as_string(obj.get("prediction"), "prediction"),
        "confidence": as_fraction(obj.get("confidence"), "confidence"),
        "top": tuple(_class_score(item) for item in as_list(obj.get("top"), "top")),
        "labels": optional(obj, "labels", _class_scores),
        "prediction_set": optional(obj, "prediction_set", as_strings),
        "coverage": optional(obj, "coverage", as_fraction),
        "in_distribution": optional(obj, "in_distribution", as_bool),
        "ood_score": optional(obj, "ood_score", as_number),
        "timings": Timings(*(as_number(timings.get(k, 0.0), k) for k in stages)),
    }


def parse_item(obj: Object, filename: str | None) -> Classification | ItemError:
    """Parse one line of a batch response: a classification, or the error of that image."""
    if "prediction" in obj:
        return parse_classification(obj, filename)
    return ItemError(filename, parse_problem(obj, status=500))


def parse_embedding(obj: Object, filename: str | None) -> Embedding | ItemError:
    """Parse one line of /embed: the features of an image, or the error of that image."""
    if "embedding" not in obj:
        return ItemError(filename, parse_problem(obj, status=500))
    features = as_list(obj["embedding"], "embedding")
    return Embedding(
        filename=filename,
        embedding=tuple(as_number(number, "embedding[]") for number in features),
        model=_model_ref(obj),
        backbone=_backbone(obj.get("backbone"), "backbone"),
    )


def parse_problem(obj: Object, *, status: int, retry_after: float | None = None) -> BackendError:
    """Parse a possibly incomplete problem document; `status` is used if it has none."""
    own_status, request_id = obj.get("status"), obj.get("request_id")
    return BackendError(
        status=own_status if type(own_status) is int else status,
        code=string_or_empty(obj.get("code")),
        title=string_or_empty(obj.get("title")),
        detail=string_or_empty(obj.get("detail")),
        request_id=request_id if isinstance(request_id, str) else None,
        retry_after=retry_after,
    )


def parse_error(status: int, reason: str, headers: Mapping[str, str], body: bytes) -> BackendError:
    """Parse a response with a status of 300 or more; `headers` ignore the case of their names."""
    if status < 400:
        return BackendError(
            status=status,
            title="Redirected",
            detail=f"The backend redirects to {headers.get('Location', '')}",
        )
    try:
        problem = parse_object(body)
    except InvalidResponse:
        problem = {"title": reason}
    problem.setdefault("request_id", headers.get("X-Request-ID"))
    retry_after = _retry_after(headers.get("Retry-After", ""))
    return parse_problem(problem, status=status, retry_after=retry_after)


def _retry_after(text: str) -> float | None:
    """Return the seconds in a Retry-After header, which has a number or a date."""
    if text.isascii() and text.isdigit():
        return min(float(text), _MAX_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        return None
    return min(max(0.0, (date - datetime.now(UTC)).total_seconds()), _MAX_RETRY_AFTER)


def parse_models(obj: Object) -> Models:
    """Parse the response of /models."""
    default = obj.get("default")
    return Models(
        default=default if isinstance(default, str) else None,
        models=tuple(_model(item) for item in as_list(obj.get("models"), "models")),
        auto=tuple(as_string(name, "auto[]") for name in as_list(obj.get("auto") or [], "auto")),
        store_is_temporary=obj.get("store_is_temporary") is True,
    )


def parse_card(obj: Object) -> ModelCard:
    """Parse the response of /models/{name}."""
    card, preprocess = optional(obj, "card", as_string), optional(obj, "preprocess", as_object)
    return ModelCard(_model(obj), card, preprocess)


def parse_version(obj: Object) -> ModelVersion:
    """Parse one version of a taught model."""
    return ModelVersion(
        name=as_string(obj.get("name"), "name"),
        version=int(as_number(obj.get("version"), "version")),
        created=as_datetime(obj.get("created"), "created"),
        author=optional(obj, "author", as_string),
        reason=optional(obj, "reason", as_string),
        active=as_bool(obj.get("active"), "active"),
        metrics=_metrics(obj),
        labels=as_strings(obj.get("labels") or [], "labels"),
    )


def parse_versions(obj: Object) -> ModelVersions:
    """Parse the response of /models/{name}/versions."""
    active, previous = (optional(obj, key, as_number) for key in ("active", "previous"))
    versions = as_list(obj.get("versions"), "versions")
    return ModelVersions(
        model=as_string(obj.get("model"), "model"),
        active=None if active is None else int(active),
        versions=tuple(parse_version(as_object(item, "versions[]")) for item in versions),
        previous=None if previous is None else int(previous),
    )


def parse_info(obj: Object) -> ServiceInfo:
    """Parse the response of /."""
    links = as_object(obj.get("links", {}), "links")
    return ServiceInfo(
        name=as_string(obj.get("name"), "name"),
        version=str(obj.get("version", "")),
        links={key: value for key, value in links.items() if isinstance(value, str)},
    )


def _model(value: Any) -> ModelInfo:
    obj = as_object(value, "models[]")
    name = as_string(obj.get("name"), "name")
    state = obj.get("state")
    if state not in ("ready", "loading", "failed"):
        raise InvalidResponse("state is not one of ready, loading, failed")
    spec = as_object(obj.get("input") or {}, "input")
    shape = tuple(int(as_number(n, "shape")) for n in as_list(spec.get("shape", []), "shape"))
    return ModelInfo(
        name=name,
        version=str(obj.get("version", "")),
        title=string_or_empty(obj.get("title")) or name,
        description=string_or_empty(obj.get("description")),
        state=cast(ModelState, state),
        error=optional(obj, "error", as_string),
        runtime=optional(obj, "runtime", as_string),
        labels=as_strings(obj.get("labels") or [], "labels"),
        input=InputSpec(string_or_empty(spec.get("kind")) or "image", shape),
        metrics=_metrics(obj),
        license=optional(obj, "license", as_string),
        calibration=optional(obj, "calibration", _calibration),
        label_ids=optional(obj, "label_ids", as_strings),
        precision=optional(obj, "precision", as_string),
        backbone=optional(obj, "backbone", _backbone),
        taught=obj.get("taught") is True,
        task=_task(obj),
    )


def _backbone(value: Any, field: str) -> Backbone:
    obj = as_object(value, field)
    return Backbone(*(as_string(obj.get(key), key) for key in ("name", "sha256")))


def _model_ref(obj: Object) -> ModelRef:
    model = as_object(obj.get("model"), "model")
    name = as_string(model.get("name"), "model.name")
    return ModelRef(name, str(model.get("version", "")))


def _metrics(obj: Object) -> dict[str, float]:
    metrics = as_object(obj.get("metrics") or {}, "metrics")
    return {key: float(n) for key, n in metrics.items() if is_number(n)}


def _data_url(value: Any, field: str) -> bytes:
    """Return the content of a data URL."""
    try:
        return base64.b64decode(as_string(value, field).partition(",")[2], validate=True)
    except binascii.Error as exc:
        raise InvalidResponse(f"{field} is not an image") from exc


def _explanation(value: Any, field: str) -> Explanation:
    obj = as_object(value, field)
    return Explanation(
        method=as_string(obj.get("method"), "method"),
        label=as_string(obj.get("label"), "label"),
        heatmap=_data_url(obj.get("heatmap"), "heatmap"),
    )


def _calibration(value: Any, field: str) -> Calibration:
    obj = as_object(value, field)
    sizes = as_object(obj.get("mean_set_size"), "mean_set_size")
    return Calibration(
        temperature=as_number(obj.get("temperature"), "temperature"),
        max_ood_score=optional(obj, "max_ood_score", as_number),
        images=int(as_number(obj.get("pictures"), "pictures")),
        source=string_or_empty(obj.get("source")),
        mean_set_size={
            _coverage(key): as_number(size, "mean_set_size") for key, size in sizes.items()
        },
        thresholds=optional(obj, "thresholds", as_fractions),
    )


def _coverage(key: str) -> float:
    """Parse a key of `mean_set_size`: JSON keys are strings."""
    try:
        return as_fraction(float(key), "mean_set_size")
    except ValueError as exc:
        raise InvalidResponse("mean_set_size has a coverage that is not a number") from exc


def _task(obj: Object) -> str:
    """Return the task, which older backends and most classifications do not name."""
    return optional(obj, "task", as_string) or "single-label"


def _class_scores(value: Any, field: str) -> tuple[ClassScore, ...]:
    return tuple(_class_score(item) for item in as_list(value, field))


def _class_score(value: Any) -> ClassScore:
    obj = as_object(value, "top[]")
    return ClassScore(
        label=as_string(obj.get("label"), "label"),
        index=int(as_number(obj.get("index"), "index")),
        probability=as_fraction(obj.get("probability"), "probability"),
    )


def as_datetime(value: Any, field: str) -> datetime:
    """Return an ISO 8601 string as a datetime."""
    try:
        return datetime.fromisoformat(as_string(value, field))
    except ValueError as exc:
        raise InvalidResponse(f"{field} is not an ISO 8601 time") from exc
