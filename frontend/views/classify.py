"""The page that classifies pictures: from files, the camera, the clipboard, or the examples."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from client import ClientError
from frontend import (
    answers,
    asking,
    correcting,
    intake,
    notices,
    problems,
    reading,
    results,
    serving,
    words,
    work,
)
from frontend.asking import BATCH_PICTURES, Question
from frontend.batches import Batch
from frontend.components import announce
from frontend.jobs import BusyError, Job
from frontend.problems import Problem
from frontend.results import Result
from frontend.serving import Service

CARDS = 12  # on one page
FILTERS = {
    "all": "All",
    "unsure": "Unsure",
    "unlike": "Unlike what it knows",
    "bad": "Could not be read",
}


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
    if batch.asked is None:  # the backend has been away since they were chosen
        st.info("The pictures wait for the backend.")
        return
    found = results.collect(batch.pictures, batch.outcomes(batch.asked), batch.corrections)
    if found:
        _announce(batch, batch.asked, found)
        if len(batch.pictures) == 1:
            _show_one(service, batch, batch.asked, found[0])
        else:
            _show_many(service, batch, batch.asked, found)
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
    asked, token = batch.job or (None, None)
    job = work.jobs().find(token)
    if asked != question.key:
        work.jobs().forget(token)
        job = _start(service, batch, question)
    if job is None or job.is_over:
        _offer_to_go_on(service, batch, question, job)
    else:
        work.watch(job, partial(reading.says, batch=batch))


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
    if before is not None and before is not batch and before.job is not None:
        work.jobs().forget(before.job[1])
    st.session_state["reading"] = batch


def _announce(batch: Batch, question: Question, found: Sequence[Result]) -> None:
    """Bring the answers to attention, once."""
    said = (
        answers.said(found[0].outcome, question.model)
        if len(batch.pictures) == 1
        else _summary(found)
    )
    announce.show(said, token=f"{batch.token} {question.key} {len(found)}", key="answer")


def _summary(found: Sequence[Result]) -> str:
    bad = sum(result.verdict == "bad" for result in found)
    read = words.count(len(found) - bad, "picture", "pictures") + " read"
    return f"{read}, {bad:,} could not be." if bad else f"{read}."


def _show_one(service: Service | Problem, batch: Batch, question: Question, result: Result) -> None:
    answers.show_one(result.picture, result.outcome, question.model)
    if isinstance(service, Service) and not isinstance(result.outcome, ClientError):
        correcting.show(service, result.outcome, batch.corrections, "one")
    _offer_files([result])


def _show_many(
    service: Service | Problem, batch: Batch, question: Question, found: Sequence[Result]
) -> None:
    st.markdown(f"**{_summary(found)}**")
    shown = _filtered(found)
    st.dataframe(
        results.rows(shown),
        hide_index=True,
        height=min(38 + 35 * len(shown), 38 + 35 * 8),
        column_order=results.shown_columns(shown),
        column_config={
            "name": "Name",
            "prediction": "Prediction",
            "confidence": st.column_config.ProgressColumn(
                "Confidence", min_value=0, max_value=1, format="percent", color="primary"
            ),
            "how sure": "How sure",
            "corrected to": "Corrected to",
            "problem": "Problem",
        },
        alt="The results as a table",
        placeholder="",
    )
    _offer_files(found)
    pages = -(-len(shown) // CARDS)
    number = 1
    if pages > 1:
        number = st.pagination(pages, key=f"cards {batch.token} {len(shown)}")
        last = min(number * CARDS, len(shown))
        st.caption(f"Pictures {(number - 1) * CARDS + 1:,} to {last:,} of {len(shown):,}")
    for index, result in enumerate(shown[(number - 1) * CARDS : number * CARDS]):
        key = f"card {index}"
        below = partial(_offer_correction, service, batch, result, key)
        answers.show_row(result.picture, result.outcome, question.model, key=key, below=below)


def _offer_correction(service: Service | Problem, batch: Batch, result: Result, key: str) -> None:
    if isinstance(service, Service) and not isinstance(result.outcome, ClientError):
        correcting.show(service, result.outcome, batch.corrections, key)


def _filtered(found: Sequence[Result]) -> Sequence[Result]:
    """Offer to see only some of the results; return those."""
    counts = {name: sum(result.verdict == name for result in found) for name in FILTERS}
    counts["all"] = len(found)
    offered = [name for name, many in counts.items() if name == "all" or 0 < many < len(found)]
    if len(offered) == 1:
        return found
    name = st.segmented_control(
        "Show",
        offered,
        default="all",
        required=True,
        format_func=lambda name: f"{FILTERS[name]} ({counts[name]:,})",
        key="filter",
    )
    return found if name == "all" else [result for result in found if result.verdict == name]


def _offer_files(found: Sequence[Result]) -> None:
    with st.container(horizontal=True):
        for name, make in (("CSV", results.as_csv), ("JSON", results.as_json)):
            st.download_button(
                f"Download {name}",
                partial(make, found),
                file_name=f"results.{name.lower()}",
                mime=f"text/{name.lower()}" if name == "CSV" else "application/json",
                icon=":material/download:",
                on_click="ignore",
            )
        _offer_to_clear()


def _offer_to_clear() -> None:
    st.button("Clear", icon=":material/close:", on_click=intake.clear)


page()
