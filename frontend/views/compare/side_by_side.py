"""The classifications of one image by two models."""

from collections.abc import Mapping, Sequence
from typing import Final

import streamlit as st

from client import Classification, ClientError, ModelInfo
from frontend.service import errors, predictions, session
from frontend.service.predictions import ImageFile, Outcome, PredictionRequest
from frontend.service.session import Service
from frontend.ui import alerts, classification
from frontend.ui.charts.bars import pair_chart
from frontend.ui.components import notifications
from frontend.ui.formatting import escape, label_name, percent, timings

MAX_LABELS: Final = 8
MIN_PROBABILITY: Final = 0.001  # of a label in the chart
IMAGE_WIDTH: Final = 240

Models = tuple[ModelInfo, ModelInfo]
LabelProbabilities = tuple[str, float, float]  # label, probability of A, probability of B


def show(service: Service, models: Models, image: ImageFile) -> None:
    """Classify an image with both models, and show the differences."""
    with st.spinner("Classifying…", show_time=False):
        outcomes = [_classify(service, model, image) for model in models]
    first, second = outcomes
    summary = summarize(models, first, second)
    token = " ".join([image.digest, *(model.name for model in models), str(service.coverage)])
    notifications.announce(summary, token=token, key="compared")
    st.header(escape(summary), anchor=False)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        classification.show_image(image.name, image.preview, IMAGE_WIDTH)
    with right:
        if isinstance(first, Classification) and isinstance(second, Classification):
            if first.in_distribution is False and second.in_distribution is False:
                st.markdown("Choose models with other classes, or choose another image.")
            else:
                _show_probabilities(models, first, second)
    for name, model, outcome, column in zip(
        "AB", models, outcomes, st.columns(2, gap="medium"), strict=True
    ):
        with column, st.container(border=True):
            st.markdown(f"**{name}: {escape(model.title)}**")
            if isinstance(outcome, ClientError):
                alerts.show(errors.describe(outcome), key=f"notice {name}")
            else:
                classification.show_headline(outcome, model)
                st.caption(timings(outcome.timings))


def coverage_of(service: Service, model: ModelInfo) -> float | None:
    """Return the chosen coverage if the model is calibrated for it."""
    levels = model.calibration.mean_set_size if model.calibration else {}
    return service.coverage if service.coverage in levels else None


def summarize(models: Models, first: Outcome, second: Outcome) -> str:
    """Return whether two outcomes agree."""
    if isinstance(first, ClientError) or isinstance(second, ClientError):
        if isinstance(first, ClientError) and isinstance(second, ClientError):
            return "Neither model classified the image."
        return f"Only {'B' if isinstance(first, ClientError) else 'A'} classified the image."
    a, b = (_prediction(model, one) for model, one in zip(models, (first, second), strict=True))
    if a is None and b is None:
        return "The models agree: the image shows none of their classes."
    if a and b and first.prediction == second.prediction:
        return f"The models agree: {a}."
    return (
        f"The models disagree: A predicts {_describe(a, first)}, B predicts {_describe(b, second)}."
    )


def probabilities_by_label(model: ModelInfo, result: Classification) -> dict[str, float]:
    """Return the probability of each label, or of the top labels if the result has only these."""
    if result.probabilities and len(result.probabilities) == len(model.labels):
        by_label: dict[str, float] = {}
        for label, probability in zip(model.labels, result.probabilities, strict=True):
            by_label[label] = max(probability, by_label.get(label, 0.0))  # labels may repeat
        return by_label
    return {score.label: score.probability for score in result.top}


def top_probabilities(
    a: Mapping[str, float], b: Mapping[str, float], max_labels: int
) -> list[LabelProbabilities]:
    """Return the most probable labels of either model, without those below MIN_PROBABILITY."""
    rows = [(label, a.get(label, 0.0), b.get(label, 0.0)) for label in {**a, **b}]
    ranked = sorted(rows, key=lambda row: -max(row[1:]))[:max_labels]
    return [row for row in ranked if max(row[1:]) >= MIN_PROBABILITY] or ranked


def describe_largest_difference(rows: Sequence[LabelProbabilities]) -> str:
    """Return the label whose probabilities differ most."""
    label, a, b = max(rows, key=lambda row: abs(row[2] - row[1]))
    points = 100 * abs(b - a)
    if points < 0.1:
        return "The probabilities are equal within 0.1 points."
    return (
        f"Largest difference: {label}, {percent(a)} for A and {percent(b)} for B "
        f"({points:.1f} points {'higher' if b > a else 'lower'})."
    )


def _classify(service: Service, model: ModelInfo, image: ImageFile) -> Outcome:
    request = PredictionRequest(model, coverage_of(service, model))
    return predictions.classify(service.client, request, [image], session.cache())[0]


def _prediction(model: ModelInfo, result: Classification) -> str | None:
    """Return the name of the predicted label; None if the image is out of distribution."""
    if result.in_distribution is False:
        return None
    return label_name(result.prediction, model.input.kind)


def _describe(prediction: str | None, result: Classification) -> str:
    if prediction is None:
        return "none of its classes"
    return f"{prediction} ({percent(result.confidence)})"


def _show_probabilities(models: Models, first: Classification, second: Classification) -> None:
    a, b = (
        probabilities_by_label(model, result)
        for model, result in zip(models, (first, second), strict=True)
    )
    rows = top_probabilities(a, b, MAX_LABELS)
    summary = describe_largest_difference(rows)
    values = "; ".join(f"{label}: A {percent(x)}, B {percent(y)}" for label, x, y in rows[:3])
    st.markdown(escape(summary))
    st.altair_chart(pair_chart(rows), alt=f"Probabilities of both models. {summary} {values}.")
