"""Answers on the page: the picture, the words, the chart."""

import streamlit as st

from client import Classification, ClientError, ModelInfo
from frontend import notices, problems, words
from frontend.asking import Outcome
from frontend.charts.probability import probability_chart
from frontend.pictures import Picture

FEW = 5  # bars for one of several pictures; a picture on its own shows all it was answered


def show_one(picture: Picture, outcome: Outcome, model: ModelInfo) -> None:
    """Show the answer for a picture on its own."""
    if isinstance(outcome, ClientError):
        notices.show(problems.of(outcome))
        _picture(picture, width=280)
        return
    show_words(outcome, model)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        _picture(picture, width=280)
    with right:
        show_figures(outcome, model)


def show_row(picture: Picture, outcome: Outcome, model: ModelInfo) -> None:
    """Show the answer for one of several pictures; a bad one is a row that says why."""
    with st.container(border=True):
        left, right = st.columns([1, 3], gap="medium")
        with left:
            _picture(picture, width=140)
        with right:
            if isinstance(outcome, ClientError):
                problem = problems.of(outcome)
                st.error(f"{words.plain(problem.what)} {words.plain(problem.advice)}")
            else:
                show_words(outcome, model)
                show_figures(outcome, model, bars=FEW)


def show_words(result: Classification, model: ModelInfo) -> None:
    """Show the answer in words."""
    st.subheader(words.plain(words.answer(result, model.input.kind)), anchor=False)
    if addition := words.addition(result, model.input.kind):
        st.markdown(words.plain(addition))


def show_figures(result: Classification, model: ModelInfo, bars: int | None = None) -> None:
    """Show the chart with the likeliest `bars` labels, and where the time went."""
    guesses = [(guess.label, guess.probability) for guess in result.top[:bars]]
    st.altair_chart(probability_chart(guesses), alt=f"Probabilities. {said(result, model)}")
    if result.in_distribution is False:
        st.caption("The bars only say which label is closer than the others.")
    st.caption(words.timings(result.timings))


def said(outcome: Outcome, model: ModelInfo) -> str:
    """Return an outcome as it is told to those who do not see it."""
    if isinstance(outcome, ClientError):
        return problems.of(outcome).what
    kind = model.input.kind
    return " ".join(filter(None, [words.answer(outcome, kind), words.addition(outcome, kind)]))


def _picture(picture: Picture, width: int) -> None:
    if picture.preview is None:
        st.markdown(":material/broken_image: No preview")
    else:
        st.image(picture.preview, width=width, alt=f"The picture {picture.name}")
    st.caption(words.plain(picture.name))
