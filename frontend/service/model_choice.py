"""Which of the served models a page offers, and which it uses. Imports no Streamlit."""

from enum import Enum
from typing import Final

from client import Calibration, InputSpec, ModelInfo, Models

AUTO: Final = "auto"
AUTO_KIND: Final = "auto"  # input kind of the automatic choice, which accepts any image


class ModelScope(Enum):
    """The models that a page offers."""

    AUTOMATIC = "automatic"  # the automatic choice, and every model
    NAMED = "named"  # every model
    DIGITS = "digits"  # models for digits
    PHOTOS = "photos"  # every model; models for photographs are preferred


def offered_models(models: Models, scope: ModelScope) -> list[ModelInfo]:
    """Return the models that the page offers, in the order of the selector."""
    served = list(models.models)
    if scope is ModelScope.DIGITS:
        return [model for model in served if model.input.kind == "digit"] or served
    if scope is ModelScope.AUTOMATIC and (automatic := automatic_choice(models)):
        return [automatic, *served]
    return served


def choose_model(models: Models, scope: ModelScope, requested: str | None) -> ModelInfo:
    """Return the requested model if the page offers it, else the page's default.

    `models` must not be empty.
    """
    offered = {model.name: model for model in offered_models(models, scope)}
    asked = tuple(reversed(models.auto)) if scope is ModelScope.PHOTOS else models.auto
    for name in (requested, models.default, *asked):
        if name in offered:
            return offered[name]
    return next(iter(offered.values()))


def automatic_members(models: Models) -> tuple[ModelInfo, ...]:
    """Return the models that the automatic choice asks, in order."""
    found = (models.get(name) for name in models.auto)
    return tuple(model for model in found if model is not None)


def automatic_choice(models: Models) -> ModelInfo | None:
    """Return the automatic choice as a model; None if the backend has none.

    It has the labels of all its models, and the coverages for which all are calibrated.
    """
    members = automatic_members(models)
    if not members:
        return None
    states = [model.state for model in members]
    names = ", then ".join(f"“{model.title}”" for model in members)
    return ModelInfo(
        name=AUTO,
        version=" ".join(f"{model.name}@{model.version}" for model in members),
        title="Automatic",
        description=f"Tries {names}. The first model that recognizes the image classifies it.",
        state=next((state for state in ("failed", "loading") if state in states), "ready"),
        error=next((f"{model.title}: {model.error}" for model in members if model.error), None),
        runtime=None,
        labels=tuple(dict.fromkeys(label for model in members for label in model.labels)),
        input=InputSpec(AUTO_KIND, ()),
        metrics={},
        license=None,
        calibration=_common_calibration(members),
    )


def _common_calibration(members: tuple[ModelInfo, ...]) -> Calibration | None:
    """Return the last model's calibration, with the coverages that all models have."""
    calibrations = [model.calibration for model in members]
    last = calibrations[-1]
    if last is None or None in calibrations:
        return None
    sizes = {
        coverage: size
        for coverage, size in last.mean_set_size.items()
        if all(each and coverage in each.mean_set_size for each in calibrations)
    }
    return Calibration(last.temperature, None, last.images, last.source, sizes)
