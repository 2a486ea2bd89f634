"""The Classify page: images from files, the camera, the clipboard, or the examples."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from client import Classification, Client, ClientError
from frontend.datasets import image_upload, kept_selections
from frontend.datasets.selections import ImageSelection
from frontend.service import errors, predictions, session
from frontend.service.predictions import BATCH_IMAGES, PredictionRequest, RequestKey
from frontend.service.session import Service
from frontend.state import page_jobs
from frontend.state.jobs import BusyError, Job
from frontend.ui import alerts, classification, formatting
from frontend.ui.alerts import Problem
from frontend.ui.components import notifications
from frontend.views.classify import batch_job, live_camera, results, results_table, single_result
from frontend.views.classify.results_table import Result

_LAST_REQUEST = "last request"
_STARTED_JOB = "started job"
_SUBJECTS = {
    "digit": "image of a handwritten digit",
    "auto": "image: a photograph or a handwritten digit",
}


def show_page() -> None:
    """Show the page: the result is above the controls, so that it is visible at once."""
    service = session.ready()
    kind = service.model.input.kind if isinstance(service, Service) else None
    st.title("Classify", anchor=False)
    if not isinstance(service, Service):
        session.show_problem(service)
    result_area, upload_area = st.container(), st.container()
    selection = image_upload.selection()
    with upload_area:
        if selection is not None:
            st.divider()
        article = "an" if selection is None else "another"
        st.markdown(f"Upload {article} {_SUBJECTS.get(kind or '', 'image')}.")
        image_upload.show(kind, partial(live_camera.show, service))
    request = _request(service, selection) if selection else None
    _discard_outdated_job(selection, request)
    if selection is not None:
        with result_area:
            if request is None:
                _show_waiting()
            else:
                _show_selection(service, selection, request)


def _request(service: Service | Problem, selection: ImageSelection) -> PredictionRequest | None:
    """Return the classification parameters for the selection.

    While the backend is unavailable, these are the session's last ones, or else those of the
    session that last used the selection.
    """
    is_single = len(selection.images) == 1
    if isinstance(service, Service):
        request = replace(service.request, model_input=is_single)
        st.session_state[_LAST_REQUEST] = selection.last_request = request
        return request
    last: PredictionRequest | None = st.session_state.get(_LAST_REQUEST) or selection.last_request
    return replace(last, model_input=is_single) if last else None


def _show_selection(
    service: Service | Problem, selection: ImageSelection, request: PredictionRequest
) -> None:
    """Classify the images without an outcome, and show the results."""
    if isinstance(service, Service):
        if len(selection.images) <= BATCH_IMAGES:
            _classify(service, selection, request)
        else:
            _classify_in_background(service, selection, request)
        kept_selections.keep(selection, request)
    elif (job := _find_job(selection, request)) is not None and not job.is_finished:
        _watch(job, selection, request)
    found = results_table.collect(
        selection.images, selection.outcomes(request), selection.corrections
    )
    if found:
        _announce(selection, request, found)
        if len(selection.images) == 1:
            _show_single(service, selection, request, found[0])
        else:
            results.show(service, selection, request, found, extra_actions=_show_clear_button)
    elif isinstance(service, Problem):
        _show_waiting()
    else:
        _show_clear_button()


def _show_waiting() -> None:
    st.info("Your images are kept and will be classified when the backend is back.")
    _show_clear_button()


def _classify(service: Service, selection: ImageSelection, request: PredictionRequest) -> None:
    """Classify a few images in this script run; show the error of the backend itself, if any."""
    with st.spinner("Classifying…", show_time=False):
        outcomes = predictions.classify(service.client, request, selection.images, selection.cache)
    pending = {image.digest for image in selection.pending(request)}
    for image, outcome in zip(selection.images, outcomes, strict=True):
        if isinstance(outcome, ClientError) and image.digest in pending:
            alerts.show(errors.describe(outcome))
            return


def _classify_in_background(
    service: Service, selection: ImageSelection, request: PredictionRequest
) -> None:
    """Classify many images in a job, which persists across a reload."""
    job = _find_job(selection, request)
    if request.key not in selection.jobs:
        job = _start_job(service, selection, request)
    if job is None or job.is_finished:
        _show_unfinished(service, selection, request, job)
    else:
        _watch(job, selection, request)


def _watch(job: Job, selection: ImageSelection, request: PredictionRequest) -> None:
    page_jobs.watch(job, partial(batch_job.progress_text, request=request, selection=selection))


def _find_job(selection: ImageSelection, request: PredictionRequest) -> Job | None:
    return page_jobs.jobs().find(selection.jobs.get(request.key))


def _start_job(
    service: Service, selection: ImageSelection, request: PredictionRequest
) -> Job | None:
    selection.jobs.pop(request.key, None)
    try:
        job = page_jobs.jobs().start(partial(_run_and_keep, service.client, request, selection))
    except BusyError:
        return None
    selection.jobs[request.key] = job.token
    st.session_state[_STARTED_JOB] = (selection, request.key, job.token)
    return job


def _run_and_keep(
    client: Client, request: PredictionRequest, selection: ImageSelection, job: Job
) -> ClientError | None:
    error = batch_job.run(job, client, request, selection)
    kept_selections.keep(selection, request)
    return error


def _show_unfinished(
    service: Service, selection: ImageSelection, request: PredictionRequest, job: Job | None
) -> None:
    """Show why images are left without an outcome, and a button to continue."""
    pending = len(selection.pending(request))
    if not pending:
        return
    if request.key not in selection.jobs:
        st.info("The server is busy with other batches. Try again in a moment.")
    elif job is None or job.result is None:  # stopped in this session or another
        st.info("Classification was stopped.")
    else:
        alerts.show(replace(errors.describe(job.result), is_temporary=False))
    count = formatting.count(pending, "image is", "images are")
    st.markdown(f"{count} not classified yet.")
    if st.button("Continue", icon=":material/play_arrow:", type="primary"):
        _start_job(service, selection, request)
        st.rerun()


def _discard_outdated_job(
    selection: ImageSelection | None, request: PredictionRequest | None
) -> None:
    """Cancel the session's job if its images or parameters have changed; keep others' jobs."""
    started: tuple[ImageSelection, RequestKey, str] | None = st.session_state.get(_STARTED_JOB)
    if started is None:
        return
    previous, key, token = started
    if previous is selection and (request is None or request.key == key):
        return
    del st.session_state[_STARTED_JOB]
    if previous.jobs.get(key) == token:
        del previous.jobs[key]
    page_jobs.jobs().discard(token)


def _announce(
    selection: ImageSelection, request: PredictionRequest, found: Sequence[Result]
) -> None:
    """Announce the results once."""
    if len(selection.images) == 1:
        outcome = errors.describe_outcome(found[0].outcome)
        model = request.model_of(outcome) if isinstance(outcome, Classification) else request.model
        message = classification.as_text(outcome, model)
    else:
        message = results_table.summary(found)
    token = f"{selection.token} {request.key} {len(found)}"
    notifications.announce(message, token=token, key="announcement")


def _show_single(
    service: Service | Problem,
    selection: ImageSelection,
    request: PredictionRequest,
    result: Result,
) -> None:
    single_result.show(service, selection, request, result)
    with st.container(horizontal=True):
        results.show_downloads([result])
        _show_clear_button()


def _show_clear_button() -> None:
    st.button("Clear", icon=":material/close:", on_click=image_upload.clear)


show_page()
