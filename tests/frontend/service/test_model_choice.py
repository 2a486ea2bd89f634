"""Which models a page offers and uses."""

import pytest

from client import Calibration, InputSpec, ModelInfo, Models
from client.types import ModelState
from frontend.service.model_choice import (
    ModelScope,
    automatic_choice,
    choose_model,
    offered_models,
)

LEVELS = {0.9: 1.0, 0.95: 1.2, 0.99: 1.9}


def model(
    name: str,
    kind: str = "digit",
    state: ModelState = "ready",
    levels: dict[float, float] | None = None,
) -> ModelInfo:
    calibration = Calibration(1.0, None, 100, "test", levels) if levels else None
    return ModelInfo(
        name, "2", name.upper(), "", state, None, None, (f"{name} label", "shared"),
        InputSpec(kind, ()), {}, None, calibration,
    )  # fmt: skip


CNN, MLP, PHOTOS = model("cnn"), model("mlp"), model("photos", "image")
SERVED = Models("auto", (CNN, MLP, PHOTOS), ("cnn", "photos"))


@pytest.mark.parametrize(
    ("scope", "requested", "chosen"),
    [
        (ModelScope.AUTOMATIC, None, "auto"),
        (ModelScope.AUTOMATIC, "auto", "auto"),
        (ModelScope.AUTOMATIC, "mlp", "mlp"),
        (ModelScope.AUTOMATIC, "gone", "auto"),
        (ModelScope.NAMED, None, "cnn"),
        (ModelScope.NAMED, "auto", "cnn"),
        (ModelScope.NAMED, "photos", "photos"),
        (ModelScope.DIGITS, None, "cnn"),
        (ModelScope.DIGITS, "mlp", "mlp"),
        (ModelScope.DIGITS, "photos", "cnn"),
        (ModelScope.PHOTOS, None, "photos"),
        (ModelScope.PHOTOS, "auto", "photos"),
        (ModelScope.PHOTOS, "mlp", "mlp"),
    ],
)
def test_page_uses_requested_model_or_its_default(
    scope: ModelScope, requested: str | None, chosen: str
) -> None:
    assert choose_model(SERVED, scope, requested).name == chosen


def test_digit_page_offers_only_digit_models() -> None:
    assert offered_models(SERVED, ModelScope.DIGITS) == [CNN, MLP]
    only_photos = Models("photos", (PHOTOS,))
    assert offered_models(only_photos, ModelScope.DIGITS) == [PHOTOS]
    assert choose_model(only_photos, ModelScope.DIGITS, None) == PHOTOS


def test_automatic_choice_is_offered_first() -> None:
    names = [each.name for each in offered_models(SERVED, ModelScope.AUTOMATIC)]
    assert names == ["auto", "cnn", "mlp", "photos"]


def test_nothing_changes_without_automatic_choice() -> None:
    models = Models("mlp", (CNN, MLP))
    assert automatic_choice(models) is None
    assert offered_models(models, ModelScope.AUTOMATIC) == [CNN, MLP]
    assert choose_model(models, ModelScope.AUTOMATIC, "auto") == MLP


def test_automatic_choice_combines_its_models() -> None:
    automatic = automatic_choice(SERVED)
    assert automatic is not None
    assert automatic.labels == ("cnn label", "shared", "photos label")
    assert automatic.version == "cnn@2 photos@2"
    assert automatic.calibration is None


def test_automatic_choice_has_the_coverages_of_all_its_models() -> None:
    first, last = model("a", levels={0.9: 1.0}), model("b", "image", levels=LEVELS)
    automatic = automatic_choice(Models("auto", (first, last), ("a", "b")))
    assert automatic is not None
    assert automatic.calibration is not None
    assert automatic.calibration.mean_set_size == {0.9: 1.0}


@pytest.mark.parametrize("state", ["loading", "failed"])
def test_automatic_choice_is_ready_when_all_its_models_are(state: ModelState) -> None:
    models = Models("auto", (CNN, model("late", "image", state)), ("cnn", "late"))
    automatic = automatic_choice(models)
    assert automatic is not None
    assert automatic.state == state
