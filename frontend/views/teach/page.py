"""The page that teaches a model from a few images of each class."""

import re
from functools import partial

import streamlit as st

from client import Models
from frontend.datasets.training_set import TrainingSet
from frontend.service import session, teaching
from frontend.service.session import Service
from frontend.state import page_jobs, url_state
from frontend.state.jobs import BusyError, Job
from frontend.ui import alerts
from frontend.ui.alerts import Problem
from frontend.ui.components import notifications
from frontend.ui.formatting import escape, percent
from frontend.views.teach import example, report, serving, training_images, versions
from frontend.views.teach.teaching_job import (
    BUSY_MESSAGE,
    TeachingRun,
    progress_text,
    teach_model,
)

JOB = "teaching"
NAME_PARAM = "name"
DEFAULT_NAME = "my-model"
LAYOUT = """
```text
animals.zip
├── ant
│   ├── a.jpg
│   └── b.jpg
└── bee
    └── c.jpg
```
"""
_NAME = "teach name"
_ERROR = "teach error"


def page() -> None:
    """Show the page."""
    service = session.current()
    st.title("Teach", anchor=False)
    st.markdown(
        "Make a classifier of your own. Add about ten images of each class, teach the model, and "
        "serve it: it has its own URL at once."
    )
    if not isinstance(service, Service):
        session.show_problem(service)
    elif problem := teaching.missing_backbone(service.models):
        alerts.show(problem, key="backbone")
        service = problem
    images = training_images.current()
    job = page_jobs.current(JOB)
    if images is None and job is None and isinstance(service, Service):
        _show_example(service)
    st.header("Images", anchor=False)
    training_images.show(service, images)
    if images is None:
        with st.expander("Expected layout of a zip or folder"):
            st.markdown(LAYOUT)
            st.markdown(
                "Each folder is named after a class; file names do not matter. Select the folder "
                "that contains the class folders."
            )
    if images is not None or job is not None:
        _show_start_over()
    if images is not None:
        _show_teach(service, images, job)
    if job is not None:
        _show_job(service, images, job)
    if isinstance(service, Service):
        versions.show(service, images)


def _show_example(service: Service) -> None:
    st.button(
        "Try with example images",
        icon=":material/school:",
        key="teach example",
        on_click=_start_example,
        args=(service,),
    )
    st.caption(example.DESCRIPTION)


def _start_example(service: Service) -> None:
    images = example.load()
    training_images.replace(images)
    url_state.put(NAME_PARAM, example.NAME)
    _start(service, images)


def _show_start_over() -> None:
    with st.popover("Start over", icon=":material/restart_alt:"):
        st.markdown("This removes the images and the report. Models that are served remain.")
        st.button("Remove all images", key="teach start over", on_click=_start_over)


def _start_over() -> None:
    page_jobs.discard(JOB)
    training_images.replace(None)
    url_state.put(NAME_PARAM, None)
    st.session_state.pop(_ERROR, None)


def _show_teach(service: Service | Problem, images: TrainingSet, job: Job | None) -> None:
    """Show the name of the model and the button that teaches it."""
    st.header("Model", anchor=False)
    st.session_state[_NAME] = url_state.get(NAME_PARAM) or DEFAULT_NAME
    st.text_input(
        "Name of the model",
        key=_NAME,
        max_chars=64,
        help="Lower-case letters, digits, hyphens, periods and underscores. It is part of the URL.",
        on_change=_save_name,
    )
    name = st.session_state[_NAME]
    models = service.models if isinstance(service, Service) else None
    problem = images.missing() or reject_name(name, models)
    is_running = job is not None and not job.is_finished
    can_start = isinstance(service, Service) and problem is None and not is_running
    is_again = job is not None and job.is_finished
    st.button(
        "Teach again" if is_again else "Teach",
        icon=":material/school:",
        type="primary",
        disabled=not can_start,
        key="teach",
        on_click=_start if can_start else None,
        args=(service, images),
    )
    if problem is not None:
        st.caption(escape(problem))
    elif is_again and _has_changed(images, job):
        st.caption("The images have changed. Teach again to use the changes; it takes seconds.")
    if error := st.session_state.get(_ERROR):
        st.error(escape(error), icon=":material/error:")


def _save_name() -> None:
    name = "-".join(st.session_state[_NAME].strip().lower().split())
    url_state.put(NAME_PARAM, name or None)


def reject_name(name: str, models: Models | None) -> str | None:
    """Return why a taught model cannot have this name, or None."""
    if not re.fullmatch(teaching.NAME_PATTERN, name):
        return (
            "Use a name of lower-case letters, digits, hyphens, periods and underscores that "
            "starts and ends with a letter or digit."
        )
    if teaching.is_reserved(name, models):
        return f"The name {name} belongs to a model of this service. Choose another name."
    return None


def _start(service: Service, images: TrainingSet) -> None:
    name = url_state.get(NAME_PARAM) or DEFAULT_NAME
    st.session_state.pop(_ERROR, None)
    try:
        page_jobs.start(JOB, partial(teach_model, service.client, images, name))
    except BusyError:
        st.session_state[_ERROR] = BUSY_MESSAGE


def _has_changed(images: TrainingSet, job: Job | None) -> bool:
    run: TeachingRun | None = job.result if job else None
    if run is None:
        return False
    used = {(image.file.digest, image.label) for image in run.images}
    return used != {(image.file.digest, image.label) for image in images.images()}


def _show_job(service: Service | Problem, images: TrainingSet | None, job: Job) -> None:
    st.divider()
    if not job.is_finished:
        page_jobs.watch(job, progress_text)
        return
    run: TeachingRun | None = job.result
    if job.error is not None or run is None:
        st.error("Teaching failed unexpectedly. Try again; the images were kept.")
        return
    if run.is_canceled:
        st.info("Teaching was stopped. The images were kept.")
    elif run.problem is not None:
        alerts.show_message(run.problem)
    elif run.model is not None:
        accuracy = percent(run.model.report.accuracy)
        message = f"The model {run.name} is taught: {accuracy} accuracy."
        notifications.announce(message, token=job.token, key="taught")
        st.header(escape(f"Report of {run.name}"), anchor=False)
        report.show(images, run)
        serving.show(service, run)


page()
