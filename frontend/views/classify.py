"""The page that classifies pictures: from files, the camera, the clipboard, or the examples."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from client import ClientError
from frontend import answers, asking, correcting, notices, problems, serving, words, work
from frontend.asking import BATCH_PICTURES, Question
from frontend.classifying import intake, overview, reading, results
from frontend.classifying.batches import Batch
from frontend.classifying.results import Result
from frontend.components import announce
from frontend.jobs import BusyError, Job
from frontend.problems import Problem
from frontend.serving import Service


def page() -> None:
    """Show the page."""
    service = serving.ready()
    kind = service.model.input.kind if isinstance(service, Service) else None
    what = "handwritten digits" if kind == "digit" else "pictures"
    st.title("Classify", anchor=False)
    st.markdown(f"Give it {what}; it says what it sees, and how sure it is.")
    if not isinstance(service, Service):
        notices.show_service(service)
    intake.show(kind)
    batch = intake.batch()
    _end_reading_of_others(batch)
    if batch is not None:
        show_batch(service, batch)


def show_batch(service: Service | Problem, batch: Batch) -> None:
    """Show what is known of the pictures, and ask for the rest."""
    st.divider()
    if isinstance(service, Service):
        batch.asked = replace(service.question, seen=len(batch.pictures) == 1)
        if len(batch.pictures) <= BATCH_PICTURES:
            _ask(service, batch, batch.asked)
        else:
            _read(service, batch, batch.asked)
    elif (job := _job(batch)) is not None:
        work.watch(job, partial(reading.says, batch=batch))
    if batch.asked is None:  # the backend has been away since they were chosen
        st.info("The pictures wait for the backend.")
        return
    found = results.collect(batch.pictures, batch.outcomes(batch.asked), batch.corrections)
    if found:
        _announce(batch, batch.asked, found)
        if len(batch.pictures) == 1:
            _show_one(service, batch, batch.asked, found[0])
        else:
            overview.show(
                found,
                batch.asked.model,
                offer_correction=partial(_offer_correction, service, batch),
                offer_more=_offer_to_clear,
            )
    else:
        _offer_to_clear()


def _ask(service: Service, batch: Batch, question: Question) -> None:
    """Ask for a few pictures at once; say what keeps the backend from answering."""
    with st.spinner("Reading…", show_time=False):
        outcomes = asking.ask(service.client, question, batch.pictures, batch.memory)
    unknown = {picture.digest for picture in batch.unread(question)}
    for picture, outcome in zip(batch.pictures, outcomes, strict=True):
        if isinstance(outcome, ClientError) and picture.digest in unknown:
            notices.show(problems.of(outcome))
            return


def _read(service: Service, batch: Batch, question: Question) -> None:
    """Ask for many pictures in a job of its own, which a reload finds again."""
    job = _job(batch)
    if batch.job is None or batch.job[0] != question.key:
        _forget_job(batch)
        job = _start(service, batch, question)
    if job is None or job.is_over:
        _offer_to_go_on(service, batch, question, job)
    else:
        work.watch(job, partial(reading.says, batch=batch))


def _job(batch: Batch) -> Job | None:
    return work.jobs().find(batch.job[1]) if batch.job else None


def _forget_job(batch: Batch) -> None:
    if batch.job is not None:
        work.jobs().forget(batch.job[1])


def _start(service: Service, batch: Batch, question: Question) -> Job | None:
    try:
        job = work.jobs().start(lambda job: reading.read(job, service.client, question, batch))
    except BusyError:
        return None
    batch.job = (question.key, job.token)
    return job


def _offer_to_go_on(service: Service, batch: Batch, question: Question, job: Job | None) -> None:
    left = len(batch.unread(question))
    if not left:
        return
    if job is None:
        st.info("Others are at work here. Go on in a moment.")
    elif job.result is not None:
        problem = problems.of(job.result)
        notices.show(replace(problem, passing=False))
    many = words.count(left, "picture is", "pictures are")
    st.markdown(f"{many} not read yet.")
    if st.button("Go on", icon=":material/play_arrow:", type="primary"):
        _start(service, batch, question)
        st.rerun()


def _end_reading_of_others(batch: Batch | None) -> None:
    """End what this session began to read and nobody wants any more."""
    before: Batch | None = st.session_state.get("reading")
    if before is not None and before is not batch:
        _forget_job(before)
    st.session_state["reading"] = batch


def _announce(batch: Batch, question: Question, found: Sequence[Result]) -> None:
    """Bring the answers to attention, once."""
    said = (
        answers.said(found[0].outcome, question.model)
        if len(batch.pictures) == 1
        else overview.summary(found)
    )
    announce.show(said, token=f"{batch.token} {question.key} {len(found)}", key="answer")


def _show_one(service: Service | Problem, batch: Batch, question: Question, result: Result) -> None:
    answers.show_one(result.picture, result.outcome, question.model)
    _offer_correction(service, batch, result, "one")
    with st.container(horizontal=True):
        overview.offer_files([result])
        _offer_to_clear()


def _offer_correction(service: Service | Problem, batch: Batch, result: Result, key: str) -> None:
    if isinstance(service, Service) and not isinstance(result.outcome, ClientError):
        correcting.show(service, result.outcome, batch.corrections, key)


def _offer_to_clear() -> None:
    st.button("Clear", icon=":material/close:", on_click=intake.clear)


page()
