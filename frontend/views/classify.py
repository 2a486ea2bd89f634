"""The page that classifies pictures: from files, the camera, the clipboard, or the examples."""

from collections.abc import Sequence

import streamlit as st

from frontend import answers, asking, intake, notices, serving, words
from frontend.asking import MOST_PICTURES, Outcome
from frontend.components import announce
from frontend.pictures import Picture
from frontend.serving import Service


def page() -> None:
    """Show the page."""
    service = serving.ready()
    kind = service.model.input.kind if isinstance(service, Service) else None
    what = "a handwritten digit" if kind == "digit" else "a picture"
    st.title("Classify", anchor=False)
    st.markdown(f"Give it {what}; it says what it sees, and how sure it is.")
    if not isinstance(service, Service):
        notices.show_service(service)
    intake.show(kind)
    pictures = intake.chosen()
    if isinstance(service, Service) and pictures:
        show_results(service, pictures)


def show_results(service: Service, pictures: Sequence[Picture]) -> None:
    """Show what the model says of the pictures."""
    st.divider()
    if len(pictures) > MOST_PICTURES:
        st.warning(f"Only the first {MOST_PICTURES} of {len(pictures)} pictures are read.")
        pictures = pictures[:MOST_PICTURES]
    outcomes = _ask(service, pictures)
    asked = [service.model.name, str(service.coverage)]
    token = " ".join([*asked, *(picture.digest for picture in pictures)])
    announce.show(_said(service, outcomes), token=token, key="answer")
    if len(pictures) == 1:
        answers.show_one(pictures[0], outcomes[0], service.model)
    else:
        st.markdown(_summary(outcomes))
        for picture, outcome in zip(pictures, outcomes, strict=True):
            answers.show_row(picture, outcome, service.model)
    st.button("Clear", icon=":material/close:", on_click=intake.clear)


def _ask(service: Service, pictures: Sequence[Picture]) -> list[Outcome]:
    place = st.empty()

    def progress(done: int, total: int) -> None:
        if 1 < done < total:
            place.progress(done / total, f"{done} of {total} pictures read")

    with st.spinner("Reading…", show_time=False):
        outcomes = asking.ask(
            service.client, service.question, pictures, serving.memory(), progress
        )
    place.empty()
    return outcomes


def _said(service: Service, outcomes: Sequence[Outcome]) -> str:
    """Return what a screen reader is told."""
    if len(outcomes) > 1:
        return _summary(outcomes)
    return answers.said(outcomes[0], service.model)


def _summary(outcomes: Sequence[Outcome]) -> str:
    bad = sum(isinstance(outcome, Exception) for outcome in outcomes)
    read = words.count(len(outcomes) - bad, "picture", "pictures") + " read"
    return f"{read}, {bad} could not be." if bad else f"{read}."


page()
