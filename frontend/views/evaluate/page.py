"""The page that measures a model on labelled pictures."""

from functools import partial

import streamlit as st

from client import ModelInfo
from evaluation.errors import EvaluationError
from frontend.datasets import dataset_upload as labelled_intake
from frontend.datasets.dataset import Labelled
from frontend.datasets.dataset_upload import BUSY
from frontend.datasets.evaluation_job import (
    Backend,
    Measurement,
    check,
    measure,
    progress,
    sentence,
    share,
)
from frontend.service import session
from frontend.service.session import Service
from frontend.state import page_jobs, url_state
from frontend.state.jobs import BusyError, Job
from frontend.ui import alerts
from frontend.ui.components import announce
from frontend.ui.formatting import count, plain
from frontend.views.evaluate import confusion_matrix, report

JOB = "evaluation"
_TROUBLE = "evaluation trouble"
EXAMPLE = """
```text
digits.zip
├── 3
│   ├── a.png
│   └── b.jpg
└── 7
    └── c.png
```
"""


def page() -> None:
    """Show the page."""
    service = session.ready()
    st.title("Evaluate", anchor=False)
    st.markdown("Give it pictures whose labels you know; it says how often the model is right.")
    if not isinstance(service, Service):
        alerts.show_service(service)
    job = page_jobs.current(JOB)
    labelled_intake.show(JOB, partial(_begin, service) if isinstance(service, Service) else None)
    if job is None:
        with st.expander("How the data has to look"):
            st.markdown(EXAMPLE)
            st.markdown(
                "The folder's name is the label, as the model calls it. The names of the files do "
                "not matter. Of a folder, choose the one that holds the class folders. What is too "
                "large to upload is measured from the shell: "
                "`.venv/bin/python -m evaluation digits --url http://localhost:8000`."
            )
        return
    st.divider()
    if job.is_over:
        _show(service if isinstance(service, Service) else None, job)
    else:
        page_jobs.watch(job, progress)


def _begin(service: Service, data: Labelled) -> None:
    check(service.model, data)
    _start(service, service.model, data)


def _start(service: Service, model: ModelInfo, data: Labelled) -> None:
    backend = Backend(service.client, service.coverage)
    page_jobs.start(JOB, partial(measure, backend, model, data))
    for name in confusion_matrix.STATE:
        url_state.put(name, None)


def _again(service: Service, model: ModelInfo, kept: Labelled) -> None:
    """Measure on the pictures that are there already."""
    try:
        check(model, kept)
        data = kept.share()
    except EvaluationError as error:
        st.session_state[_TROUBLE] = sentence(error)
        return
    try:
        _start(service, model, data)
    except BusyError:
        data.close()
        st.session_state[_TROUBLE] = BUSY


def _show(service: Service | None, job: Job) -> None:
    if job.error is not None or job.result is None:
        st.error("This could not be measured: the work ended unexpectedly. Choose the data again.")
        return
    found: Measurement = job.result
    st.header(plain(f"{found.model.title} on {found.data.name}"), anchor=False)
    announce.show(_said(found), token=job.token, key="measured")
    if found.trouble:
        st.error(plain(found.trouble), icon=":material/error:")
    if trouble := st.session_state.pop(_TROUBLE, None):
        st.error(plain(trouble), icon=":material/error:")
    if service is not None:
        _offer_again(service, found)
    if found.evaluation is not None:
        report.show(job.token, found, found.evaluation)


def _offer_again(service: Service, found: Measurement) -> None:
    model = service.model
    is_whole = found.evaluation is not None and found.evaluation.stopped is None
    if model.name == found.model.name and is_whole:
        st.caption("Another model in the sidebar can be measured on the same pictures.")
        return
    st.button(
        f"Measure {plain(model.title)} on the same pictures",
        icon=":material/replay:",
        on_click=_again,
        args=(service, model, found.data),
    )


def _said(found: Measurement) -> str:
    """Return what a screen reader is told."""
    metrics = found.evaluation.metrics if found.evaluation else None
    if metrics is None:
        return found.trouble or "Nothing was measured."
    pictures = count(metrics.count, "picture", "pictures")
    return f"{found.model.title} is right on {share(metrics.accuracy)} of {pictures}."


page()
