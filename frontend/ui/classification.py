"""Answers on the page: the picture, the words, the bars."""

from collections.abc import Callable
from io import BytesIO

import streamlit as st
from PIL import Image

from client import Classification, ClientError, ModelInfo
from frontend.datasets.images import Picture
from frontend.service import errors
from frontend.service.predictions import Outcome
from frontend.ui import alerts, formatting
from frontend.ui.components import bars as bar_chart

FEW = 5  # bars for one of several pictures; a picture on its own shows all it was answered
SEEN_WIDTH = 140  # pixels, five for each that a digit model is given


def show_one(picture: Picture, outcome: Outcome, model: ModelInfo) -> None:
    """Show the answer for a picture on its own."""
    if isinstance(outcome, ClientError):
        alerts.show(errors.of(outcome))
        _picture(picture, width=280)
        return
    show_words(outcome, model)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        _picture(picture, width=280)
        show_seen(outcome)
    with right:
        show_figures(outcome, model)


def show_row(
    picture: Picture,
    outcome: Outcome,
    model: ModelInfo,
    key: str | None = None,
    below: Callable[[], None] = lambda: None,
) -> None:
    """Show the answer for one of several pictures; a bad one is a row that says why.

    `below` shows what else belongs to an answer.
    """
    with st.container(border=True):
        left, right = st.columns([1, 3], gap="medium")
        with left:
            _picture(picture, width=140)
        with right:
            if isinstance(outcome, ClientError):
                problem = errors.of(outcome)
                st.error(f"{formatting.plain(problem.what)} {formatting.plain(problem.advice)}")
            else:
                show_words(outcome, model)
                show_figures(outcome, model, bars=FEW, key=key)
                below()


def show_words(result: Classification, model: ModelInfo) -> None:
    """Show the answer in words."""
    st.subheader(formatting.plain(formatting.answer(result, model.input.kind)), anchor=False)
    if addition := formatting.addition(result, model.input.kind):
        st.markdown(formatting.plain(addition))


def show_figures(
    result: Classification, model: ModelInfo, bars: int | None = None, key: str | None = None
) -> None:
    """Show bars for the likeliest `bars` labels, and where the time went.

    The same answer twice on a page needs a `key` each.
    """
    title = f"Probabilities. {said(result, model)}"
    bar_chart.show(title, result.top[:bars], key=f"bars {key or result.id}")
    if result.in_distribution is False:
        st.caption("The bars only say which label is closer than the others.")
    st.caption(formatting.timings(result.timings))


def show_seen(result: Classification) -> None:
    """Show what the model was given, its pixels enlarged; nothing where that was not asked for."""
    if result.model_input is None:
        return
    with Image.open(BytesIO(result.model_input)) as image:
        width, height = image.size
    size = f"{width}x{height} pixels"
    with st.container(key="model_input"):  # the name that the page's style knows
        st.image(
            result.model_input,
            width=max(width, SEEN_WIDTH),
            output_format="PNG",  # the default blurs it
            alt=f"What the model sees: the picture as it is given, {size}",
        )
    st.caption(f"What the model sees: {size}")


def said(outcome: Outcome, model: ModelInfo) -> str:
    """Return an outcome as it is told to those who do not see it."""
    if isinstance(outcome, ClientError):
        return errors.of(outcome).what
    kind = model.input.kind
    return " ".join(
        filter(None, [formatting.answer(outcome, kind), formatting.addition(outcome, kind)])
    )


def _picture(picture: Picture, width: int) -> None:
    if picture.preview is None:
        st.markdown(":material/broken_image: No preview")
    else:
        st.image(picture.preview, width=width, alt=f"The picture {picture.name}")
    st.caption(formatting.plain(picture.name))
