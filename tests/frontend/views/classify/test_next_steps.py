"""Models to try after a rejected image."""

from dataclasses import replace

from client import InputSpec, Models
from frontend.service.predictions import PredictionRequest
from frontend.views.classify.next_steps import other_models
from tests.frontend.samples import MODEL

DIGITS = MODEL
MORE_DIGITS = replace(MODEL, name="mnist-tree")
PHOTOS = replace(MODEL, name="photos", labels=("cat", "dog"), input=InputSpec("image", ()))
INSECTS = replace(PHOTOS, name="insects", labels=("ant", "bee"))
LOADING = replace(PHOTOS, name="loading", labels=("x",), state="loading")
MODELS = Models("auto", (INSECTS, DIGITS, MORE_DIGITS, PHOTOS, LOADING), ("mnist-cnn", "photos"))


def test_ready_models_with_other_labels_are_suggested() -> None:
    assert other_models(MODELS, PredictionRequest(DIGITS)) == [PHOTOS, INSECTS]
    assert other_models(MODELS, PredictionRequest(PHOTOS)) == [DIGITS, INSECTS]


def test_models_of_the_automatic_choice_are_not_suggested_again() -> None:
    automatic = replace(PHOTOS, name="auto", input=InputSpec("auto", ()))
    request = PredictionRequest(automatic, members=(DIGITS, PHOTOS))
    assert other_models(MODELS, request) == [INSECTS]


def test_single_model_has_no_alternative() -> None:
    models = Models("mnist-cnn", (DIGITS, MORE_DIGITS))
    assert other_models(models, PredictionRequest(DIGITS)) == []
