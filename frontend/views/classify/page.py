"""The page that classifies pictures: from files, the camera, the clipboard, or the examples."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from client import ClientError
from frontend.datasets import upload
from frontend.datasets.selections import Batch
from frontend.service import errors, predictions, session
from frontend.service.errors import Problem
from frontend.service.predictions import BATCH_PICTURES, Key, Question
from frontend.service.session import Service
from frontend.state import page_jobs
from frontend.state.jobs import BusyError, Job
from frontend.ui import alerts, classification, feedback, formatting
from frontend.ui.components import announce
from frontend.views.classify import batch_job, results_table
from frontend.views.classify import results as overview
from frontend.views.classify.results_table import Result

_ASKED = "asked last"
_STARTED = "reading started here"


def page() -> None:
    """Show the page."""
    service = session.ready()
    kind = service.model.input.kind if isinstance(service, Service) else None
    what = "handwritten digits" if kind == "digit" else "pictures"
    st.title("Classify", anchor=False)
    st.markdown(f"Give it {what}; it says what it sees, and how sure it is.")
    if not isinstance(service, Service):
        alerts.show_service(service)
    upload.show(kind)
    batch = upload.batch()
    question = _question(service, batch) if batch else None
    _end_own_reading(batch, question)
    if batch is not None:
        show_batch(service, batch, question)


def show_batch(service: Service | Problem, batch: Batch, question: Question | None) -> None:
    """Show what is known of the pictures, and ask for the rest."""
    st.divider()
    if question is None:
        _wait_for_backend()
        return
    if isinstance(service, Service):
        if len(batch.pictures) <= BATCH_PICTURES:
            _ask(service, batch, question)
        else:
            _read(service, batch, question)
    elif (job := _job(batch, question)) is not None and not job.is_over:
        _watch(job, batch, question)
    found = results_table.collect(batch.pictures, batch.outcomes(question), batch.corrections)
    if found:
        _announce(batch, question, found)
        if len(batch.pictures) == 1:
            _show_one(service, batch, question, found[0])
        else:
            overview.show(
                found,
                question.model,
                offer_correction=partial(_offer_correction, service, batch),
                offer_more=_offer_to_clear,
            )
    elif isinstance(service, Problem):
        _wait_for_backend()
    else:
        _offer_to_clear()


def _wait_for_backend() -> None:
    """Say that the backend has been away since the pictures were chosen."""
    st.info("The pictures wait for the backend.")
    _offer_to_clear()


def _question(service: Service | Problem, batch: Batch) -> Question | None:
    """Return what is asked of the pictures.

    While the backend is away that is what this session asked last, or else who was here before.
    """
    is_one = len(batch.pictures) == 1
    if isinstance(service, Service):
        question = replace(service.question, model_input=is_one)
        st.session_state[_ASKED] = batch.asked = question
        return question
    last: Question | None = st.session_state.get(_ASKED) or batch.asked
    return replace(last, model_input=is_one) if last else None


def _ask(service: Service, batch: Batch, question: Question) -> None:
    """Ask for a few pictures at once; say what keeps the backend from answering."""
    with st.spinner("Reading…", show_time=False):
        outcomes = predictions.ask(service.client, question, batch.pictures, batch.memory)
    unknown = {picture.digest for picture in batch.unread(question)}
    for picture, outcome in zip(batch.pictures, outcomes, strict=True):
        if isinstance(outcome, ClientError) and picture.digest in unknown:
            alerts.show(errors.of(outcome))
            return


def _read(service: Service, batch: Batch, question: Question) -> None:
    """Ask for many pictures in a job of its own, which a reload finds again."""
    job = _job(batch, question)
    if question.key not in batch.jobs:
        job = _start(service, batch, question)
    if job is None or job.is_over:
        _offer_to_go_on(service, batch, question, job)
    else:
        _watch(job, batch, question)


def _watch(job: Job, batch: Batch, question: Question) -> None:
    page_jobs.watch(job, partial(batch_job.says, question=question, batch=batch))


def _job(batch: Batch, question: Question) -> Job | None:
    return page_jobs.jobs().find(batch.jobs.get(question.key))


def _start(service: Service, batch: Batch, question: Question) -> Job | None:
    batch.jobs.pop(question.key, None)
    try:
        job = page_jobs.jobs().start(
            lambda job: batch_job.read(job, service.client, question, batch)
        )
    except BusyError:
        return None
    batch.jobs[question.key] = job.token
    st.session_state[_STARTED] = (batch, question.key, job.token)
    return job


def _offer_to_go_on(service: Service, batch: Batch, question: Question, job: Job | None) -> None:
    left = len(batch.unread(question))
    if not left:
        return
    if question.key not in batch.jobs:
        st.info("Others are at work here. Go on in a moment.")
    elif job is None or job.result is None:  # stopped here or elsewhere
        st.info("The reading was ended.")
    else:
        problem = errors.of(job.result)
        alerts.show(replace(problem, passing=False))
    many = formatting.count(left, "picture is", "pictures are")
    st.markdown(f"{many} not read yet.")
    if st.button("Go on", icon=":material/play_arrow:", type="primary"):
        _start(service, batch, question)
        st.rerun()


def _end_own_reading(batch: Batch | None, question: Question | None) -> None:
    """End what this session began to read and does not want any more; others' goes on."""
    started: tuple[Batch, Key, str] | None = st.session_state.get(_STARTED)
    if started is None:
        return
    before, key, token = started
    if before is batch and (question is None or question.key == key):
        return
    del st.session_state[_STARTED]
    if before.jobs.get(key) == token:
        del before.jobs[key]
    page_jobs.jobs().forget(token)


def _announce(batch: Batch, question: Question, found: Sequence[Result]) -> None:
    """Bring the answers to attention, once."""
    said = (
        classification.said(found[0].outcome, question.model)
        if len(batch.pictures) == 1
        else overview.summary(found)
    )
    announce.show(said, token=f"{batch.token} {question.key} {len(found)}", key="answer")


def _show_one(service: Service | Problem, batch: Batch, question: Question, result: Result) -> None:
    classification.show_one(result.picture, result.outcome, question.model)
    _offer_correction(service, batch, result, "one")
    with st.container(horizontal=True):
        overview.offer_files([result])
        _offer_to_clear()


def _offer_correction(service: Service | Problem, batch: Batch, result: Result, key: str) -> None:
    if isinstance(service, Service) and not isinstance(result.outcome, ClientError):
        subject = feedback.subject_of(service, result.outcome)
        if subject is not None:
            feedback.offer(subject, batch.corrections, key)


def _offer_to_clear() -> None:
    st.button("Clear", icon=":material/close:", on_click=upload.clear)


page()
