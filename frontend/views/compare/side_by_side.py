"""Two models' answers for the same picture."""

import streamlit as st

from client import Classification, ClientError, ModelInfo
from frontend.datasets.images import Picture
from frontend.service import errors, predictions, session
from frontend.service.predictions import Outcome, Question
from frontend.service.session import Service
from frontend.ui import alerts, classification
from frontend.ui.charts.bars import pair_chart
from frontend.ui.components import announce
from frontend.ui.formatting import noun, percent, plain, timings
from frontend.views.compare import comparison_job

MOST_LABELS = 8
PICTURE_WIDTH = 240

Models = tuple[ModelInfo, ModelInfo]


def show(service: Service, models: Models, picture: Picture) -> None:
    """Ask both models about a picture, and show where they differ."""
    with st.spinner("Reading…", show_time=False):
        outcomes = [_ask(service, model, picture) for model in models]
    first, second = outcomes
    said = verdict(models, first, second)
    asked = " ".join([picture.digest, *(model.name for model in models), str(service.coverage)])
    announce.show(said, token=asked, key="compared")
    st.subheader(plain(said), anchor=False)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        _show_picture(picture)
    with right:
        if isinstance(first, Classification) and isinstance(second, Classification):
            _show_differences(models, first, second)
    for name, model, outcome, column in zip(
        "AB", models, outcomes, st.columns(2, gap="medium"), strict=True
    ):
        with column, st.container(border=True):
            st.markdown(f"**{name}: {plain(model.title)}**")
            _show_answer(name, model, outcome)


def _show_picture(picture: Picture) -> None:
    if picture.preview is None:
        st.markdown(":material/broken_image: No preview")
    else:
        st.image(picture.preview, width=PICTURE_WIDTH, alt=f"The picture {picture.name}")
    st.caption(plain(picture.name))


def _show_answer(name: str, model: ModelInfo, outcome: Outcome) -> None:
    if isinstance(outcome, ClientError):
        alerts.show(errors.of(outcome), key=f"notice {name}")
        return
    classification.show_words(outcome, model)
    st.caption(timings(outcome.timings))


def coverage_of(service: Service, model: ModelInfo) -> float | None:
    """Return the coverage that was chosen, where the model has it."""
    levels = model.calibration.mean_set_size if model.calibration else {}
    return service.coverage if service.coverage in levels else None


def verdict(models: Models, first: Outcome, second: Outcome) -> str:
    """Say whether two outcomes agree."""
    if isinstance(first, ClientError) or isinstance(second, ClientError):
        if isinstance(first, ClientError) and isinstance(second, ClientError):
            return "Neither has an answer."
        return f"Only {'B' if isinstance(first, ClientError) else 'A'} has an answer."
    a, b = (_reading(model, one) for model, one in zip(models, (first, second), strict=True))
    if a is None and b is None:
        return "They agree: this is nothing that either knows."
    if a and b and first.prediction == second.prediction:
        return f"They agree: both read {a}."
    return f"They disagree: A {_says(a, first)}, B {_says(b, second)}."


def _reading(model: ModelInfo, answer: Classification) -> str | None:
    """Return what a model takes the picture for; None where it is like nothing it knows."""
    return None if answer.in_distribution is False else noun(answer.prediction, model.input.kind)


def _says(reading: str | None, answer: Classification) -> str:
    if reading is None:
        return "sees nothing that it knows"
    return f"reads {reading} ({percent(answer.confidence)})"


def _show_differences(models: Models, first: Classification, second: Classification) -> None:
    a, b = (
        comparison_job.probabilities(model, one)
        for model, one in zip(models, (first, second), strict=True)
    )
    rows = comparison_job.differences(a, b, MOST_LABELS)
    said = comparison_job.largest(rows)
    named = "; ".join(f"{label}: A {percent(x)}, B {percent(y)}" for label, x, y in rows[:3])
    st.markdown(plain(said))
    st.altair_chart(pair_chart(rows), alt=f"Probabilities of both models. {said} {named}.")


def _ask(service: Service, model: ModelInfo, picture: Picture) -> Outcome:
    question = Question(model, coverage_of(service, model))
    return predictions.ask(service.client, question, [picture], session.memory())[0]
