"""JSON into answers. Whatever does not fit is an InvalidAnswer that names the field."""

import json
import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

from client.answers import (
    Calibration,
    Classification,
    Guess,
    Info,
    InputSpec,
    ItemError,
    ModelInfo,
    ModelRef,
    Models,
    State,
    Timings,
)
from client.errors import BackendError, InvalidAnswer

Object = dict[str, Any]
T = TypeVar("T")


def parse_object(text: str | bytes) -> Object:
    """Read one JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidAnswer("the answer is not JSON") from exc
    return _object(value, "the answer")


def parse_classification(obj: Object, filename: str | None) -> Classification:
    """Read the answer of /classify; `filename` is what the caller called the image."""
    model = _object(obj.get("model"), "model")
    timings = _object(obj.get("timings_ms", {}), "timings_ms")
    return Classification(
        id=_text(obj.get("id", ""), "id"),
        filename=filename,
        model=ModelRef(_text(model.get("name"), "model.name"), str(model.get("version", ""))),
        prediction=_text(obj.get("prediction"), "prediction"),
        confidence=_share(obj.get("confidence"), "confidence"),
        top=tuple(_guess(item) for item in _list(obj.get("top"), "top")),
        probabilities=_optional(obj, "probabilities", _shares),
        prediction_set=_optional(obj, "prediction_set", _texts),
        coverage=_optional(obj, "coverage", _share),
        in_distribution=_optional(obj, "in_distribution", _flag),
        stored=_optional(obj, "stored", _flag),
        timings=Timings(
            *(_number(timings.get(k, 0.0), k) for k in ("decode", "queue", "inference"))
        ),
        ood_score=_optional(obj, "ood_score", _number),
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
        code=_words(obj.get("code")),
        title=_words(obj.get("title")),
        detail=_words(obj.get("detail")),
        request_id=request_id if isinstance(request_id, str) else None,
        retry_after=retry_after,
    )


def parse_models(obj: Object) -> Models:
    """Read the answer of /models."""
    default = obj.get("default")
    return Models(
        default=default if isinstance(default, str) else None,
        models=tuple(_model(item) for item in _list(obj.get("models"), "models")),
    )


def parse_info(obj: Object) -> Info:
    """Read the answer of /."""
    links = _object(obj.get("links", {}), "links")
    return Info(
        name=_text(obj.get("name"), "name"),
        version=str(obj.get("version", "")),
        links={key: value for key, value in links.items() if isinstance(value, str)},
    )


def _model(value: Any) -> ModelInfo:
    obj = _object(value, "models[]")
    name = _text(obj.get("name"), "name")
    state = obj.get("state")
    if state not in ("ready", "loading", "failed"):
        raise InvalidAnswer("state is not one of ready, loading, failed")
    spec = _object(obj.get("input") or {}, "input")
    metrics = _object(obj.get("metrics") or {}, "metrics")
    return ModelInfo(
        name=name,
        version=str(obj.get("version", "")),
        title=_words(obj.get("title")) or name,
        description=_words(obj.get("description")),
        state=cast(State, state),
        error=_optional(obj, "error", _text),
        runtime=_optional(obj, "runtime", _text),
        labels=_texts(obj.get("labels") or [], "labels"),
        input=InputSpec(
            kind=_words(spec.get("kind")) or "image",
            shape=tuple(int(_number(n, "shape")) for n in _list(spec.get("shape", []), "shape")),
        ),
        metrics={key: float(n) for key, n in metrics.items() if _is_number(n)},
        license=_optional(obj, "license", _text),
        calibration=_optional(obj, "calibration", _calibration),
    )


def _calibration(value: Any, field: str) -> Calibration:
    obj = _object(value, field)
    sizes = _object(obj.get("mean_set_size"), "mean_set_size")
    return Calibration(
        temperature=_number(obj.get("temperature"), "temperature"),
        max_ood_score=_optional(obj, "max_ood_score", _number),
        pictures=int(_number(obj.get("pictures"), "pictures")),
        source=_words(obj.get("source")),
        mean_set_size={
            _coverage(key): _number(size, "mean_set_size") for key, size in sizes.items()
        },
    )


def _coverage(key: str) -> float:
    """Read a name in `mean_set_size`: JSON has no numbers there."""
    try:
        return _share(float(key), "mean_set_size")
    except ValueError as exc:
        raise InvalidAnswer("mean_set_size has a coverage that is not a number") from exc


def _guess(value: Any) -> Guess:
    obj = _object(value, "top[]")
    return Guess(
        label=_text(obj.get("label"), "label"),
        index=int(_number(obj.get("index"), "index")),
        probability=_share(obj.get("probability"), "probability"),
    )


def _optional(obj: Object, field: str, parse: Callable[[Any, str], T]) -> T | None:
    value = obj.get(field)
    return None if value is None else parse(value, field)


def _object(value: Any, field: str) -> Object:
    if not isinstance(value, dict):
        raise InvalidAnswer(f"{field} is not an object")
    return value


def _list(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidAnswer(f"{field} is not a list")
    return value


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidAnswer(f"{field} is not text")
    return value


def _texts(value: Any, field: str) -> tuple[str, ...]:
    return tuple(_text(item, field) for item in _list(value, field))


def _words(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _flag(value: Any, field: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidAnswer(f"{field} is neither true nor false")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any, field: str) -> float:
    if not _is_number(value):
        raise InvalidAnswer(f"{field} is not a number")
    return float(value)


def _share(value: Any, field: str) -> float:
    number = _number(value, field)
    if not -1e-3 <= number <= 1 + 1e-3:
        raise InvalidAnswer(f"{field} is not within [0, 1]")
    return min(1.0, max(0.0, number))


def _shares(value: Any, field: str) -> tuple[float, ...]:
    return tuple(_share(item, field) for item in _list(value, field))
