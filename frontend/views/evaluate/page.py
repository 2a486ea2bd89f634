"""The page that evaluates a model on a labeled dataset."""

from functools import partial

import streamlit as st

from client import ModelInfo
from evaluation.errors import EvaluationError
from frontend.datasets import dataset_upload, example_dataset
from frontend.datasets.dataset import Dataset
from frontend.datasets.dataset_upload import BUSY_MESSAGE
from frontend.datasets.evaluation_job import (
    EvaluationRun,
    EvaluationTarget,
    as_sentence,
    evaluate_model,
    match_dataset_labels,
    precise_percent,
    progress_text,
)
from frontend.datasets.kept_evaluations import EVALUATION
from frontend.service import session
from frontend.service.session import MODEL_PARAM, Service
from frontend.state import page_jobs, url_state
from frontend.state.jobs import BusyError, Job
from frontend.ui.components import notifications
from frontend.ui.formatting import count, escape
from frontend.views.evaluate import confusion_matrix, report

JOB = "evaluation"
_ERROR = "evaluation error"
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
    st.markdown("Upload a labeled dataset to measure the accuracy of the model.")
    if not isinstance(service, Service):
        session.show_problem(service)
    job = page_jobs.current(JOB, EVALUATION)
    start = partial(_check_and_start, service) if isinstance(service, Service) else None
    dataset_upload.show(JOB, start)
    if error := st.session_state.pop(_ERROR, None):
        st.error(escape(error), icon=":material/error:")
    if job is None:
        if isinstance(service, Service):
            start_example = partial(_start_on_example, service)
            example_dataset.show_button([service.model], service.models.models, start_example)
        with st.expander("Expected folder layout"):
            st.markdown(EXAMPLE)
            st.markdown(
                "Each folder is named after a label of the model, its WordNet ID (such as "
                "`n02123045`) or its index. File names do not matter. "
                "For a model whose images have several labels, join them with a semicolon, as in "
                "`cat;dog`, and name the folder of images without a label `no_labels`. "
                "When you upload a folder, select the one that contains the class folders. "
                "If a dataset is too large to upload, evaluate it on the command line: "
                "`.venv/bin/python -m evaluation digits --url http://localhost:8000 "
                "--model mnist-cnn`."
            )
        return
    st.divider()
    if job.is_finished:
        _show_result(service if isinstance(service, Service) else None, job)
    else:
        page_jobs.watch(job, progress_text)


def _check_and_start(service: Service, data: Dataset) -> None:
    match_dataset_labels(service.model, data)
    _start(service, service.model, data)


def _start(service: Service, model: ModelInfo, data: Dataset) -> None:
    backend = EvaluationTarget(service.client, service.coverage)
    title = f"{model.title} on {data.name}"
    page_jobs.start(JOB, partial(evaluate_model, backend, model, data), EVALUATION, title)
    for param in confusion_matrix.URL_PARAMS:
        url_state.put(param, None)


def _start_on_uploaded(service: Service, model: ModelInfo, uploaded: Dataset) -> None:
    """Start an evaluation on a dataset that is already uploaded."""
    try:
        match_dataset_labels(model, uploaded)
        data = uploaded.share()
    except EvaluationError as error:
        st.session_state[_ERROR] = as_sentence(error)
        return
    _start_or_close(service, model, data)


def _start_on_example(service: Service, models: tuple[ModelInfo, ...]) -> None:
    """Start an evaluation on the example dataset, and choose its model."""
    try:
        data = example_dataset.load()
    except EvaluationError as error:
        st.session_state[_ERROR] = as_sentence(error)
        return
    url_state.put(MODEL_PARAM, models[0].name)
    _start_or_close(service, models[0], data)


def _start_or_close(service: Service, model: ModelInfo, data: Dataset) -> None:
    try:
        _start(service, model, data)
    except BusyError:
        data.close()
        st.session_state[_ERROR] = BUSY_MESSAGE


def _show_result(service: Service | None, job: Job) -> None:
    if job.error is not None or job.result is None:
        st.error("The evaluation failed unexpectedly. Upload the dataset again.")
        return
    result: EvaluationRun = job.result
    notifications.announce(_summarize(result), token=job.token, key="evaluated")
    st.header(escape(f"{result.model.title} on {result.data.name}"), anchor=False)
    if result.error:
        st.error(escape(result.error), icon=":material/error:")
    if service is not None:
        _show_restart(service, result)
    if result.evaluation is not None:
        report.show(job.token, result, result.evaluation)


def _show_restart(service: Service, result: EvaluationRun) -> None:
    model = service.model
    if not result.data.has_images:
        st.caption(dataset_upload.NO_IMAGES)
        return
    is_complete = result.evaluation is not None and result.evaluation.stopped is None
    if model.name == result.model.name and is_complete:
        st.caption("To evaluate another model on these images, select it in the sidebar.")
        return
    st.button(
        f"Evaluate {escape(model.title)} on the same images",
        icon=":material/replay:",
        on_click=_start_on_uploaded,
        args=(service, model, result.data),
    )


def _summarize(result: EvaluationRun) -> str:
    """Return the text for screen readers."""
    metrics = result.evaluation.metrics if result.evaluation else None
    if result.evaluation and (labels := result.evaluation.label_metrics):
        images = count(labels.count, "image", "images")
        return f"{result.model.title}: micro F1 {precise_percent(labels.micro.f1)} on {images}."
    if metrics is None:
        return result.error or "No image was classified."
    images = count(metrics.count, "image", "images")
    return f"{result.model.title}: {precise_percent(metrics.accuracy)} accuracy on {images}."


page()
