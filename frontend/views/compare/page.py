"""The page that compares two models, on one image or on a labeled dataset."""

from functools import partial

import streamlit as st

from client import ModelInfo
from evaluation.errors import EvaluationError
from evaluation.evaluate import MULTI_LABEL
from evaluation.results import Evaluation
from frontend.datasets import dataset_upload, example_dataset, image_upload, kept_selections
from frontend.datasets.dataset import Dataset
from frontend.datasets.dataset_upload import BUSY_MESSAGE
from frontend.datasets.evaluation_job import (
    EvaluationRun,
    EvaluationTarget,
    as_sentence,
    progress_text,
)
from frontend.service import errors, session
from frontend.service.session import Service
from frontend.state import page_jobs, url_state
from frontend.state.jobs import BusyError, Job
from frontend.ui import alerts
from frontend.ui.components import notifications
from frontend.ui.formatting import escape
from frontend.views.compare import comparison_job, report, side_by_side
from frontend.views.compare.comparison_job import ComparisonResult, check_both, evaluate_both
from frontend.views.compare.kept_comparisons import COMPARISON
from frontend.views.compare.side_by_side import Models, coverage_of

JOB = "comparison"
EVALUATION_JOB = "evaluation"  # the job of the Evaluate page
SIDES = ("a", "b")
MODE_PARAM = "on"
IMAGE, SET = "image", "set"
MODES = {IMAGE: "One image", SET: "Labeled dataset"}
_ERROR = "comparison error"


def page() -> None:
    """Show the page."""
    service = session.ready()
    st.title("Compare", anchor=False)
    st.markdown("Compare the predictions of two models on the same images.")
    models = None
    if isinstance(service, Service):
        models = _select_models(service)
    else:
        session.show_problem(service)
    mode = _select_mode()
    if mode == SET:
        _show_dataset_mode(service if isinstance(service, Service) else None, models)
    elif isinstance(service, Service) and models:
        _show_image_mode(service, models)


def _select_models(service: Service) -> Models | None:
    """Show a selector for each model; return None if there are no two models that are ready."""
    served = {model.name: model for model in service.models.models if model.task != MULTI_LABEL}
    if len(served) < 2 <= len(service.models.models):
        st.info("The backend serves fewer than two models that predict one label of an image.")
        return None
    if len(served) < 2:
        st.info(
            "The backend serves only one model; a comparison needs two. Add a model folder to "
            "`models/` and restart the backend. `python -m training.package` creates such a "
            "folder from a checkpoint."
        )
        return None
    chosen = served.get(service.model.name) or next(iter(served.values()))
    a = served.get(url_state.get("a") or "") or chosen
    others = [model for model in served.values() if model.name != a.name]
    b = next((model for model in others if model.name == url_state.get("b")), others[0])
    for column, side, model, options in zip(
        st.columns(2), SIDES, (a, b), (list(served.values()), others), strict=True
    ):
        with column:
            _show_model_selector(side, model, options)
    if difference := comparison_job.describe_label_difference(a, b):
        st.caption(escape(difference))
    for model in (a, b):
        if problem := errors.describe_model_state(model):
            alerts.show(problem)
            return None
    return a, b


def _show_model_selector(side: str, model: ModelInfo, options: list[ModelInfo]) -> None:
    titles = {option.name: option.title for option in options}
    key = f"model {side}"
    st.session_state[key] = model.name
    st.selectbox(
        f"Model {side.upper()}",
        list(titles),
        format_func=lambda name: titles.get(name, name),
        key=key,
        on_change=lambda: url_state.put(side, st.session_state[key]),
    )


def _select_mode() -> str:
    mode = url_state.get(MODE_PARAM)
    st.session_state["compare on"] = mode if mode in MODES else IMAGE
    selected: str = st.radio(
        "Compare on",
        list(MODES),
        format_func=MODES.__getitem__,
        horizontal=True,
        key="compare on",
        on_change=lambda: url_state.put(MODE_PARAM, st.session_state["compare on"]),
    )
    return selected


def _show_image_mode(service: Service, models: Models) -> None:
    image_upload.show(models[0].input.kind)
    selection = image_upload.selection()
    if selection is None:
        _show_example(service, models)
        return
    st.divider()
    if len(selection.images) > 1:
        st.caption("Only the first image is compared.")
    side_by_side.show(service, models, selection.images[0])
    if service.store:
        kept_selections.keep(selection, selection.last_request or service.request)
    st.button("Clear", icon=":material/close:", on_click=image_upload.clear)


def _show_dataset_mode(service: Service | None, models: Models | None) -> None:
    job = page_jobs.current(JOB, COMPARISON)
    evaluated = _finished_evaluation()
    if service and models and evaluated:
        st.button(
            f"Compare on {escape(evaluated.data.name)} from the Evaluate page",
            icon=":material/fact_check:",
            on_click=_start_on_uploaded,
            args=(service, models, evaluated.data),
        )
    start = partial(_start, service, models) if service and models else None
    if models or service is None:
        dataset_upload.show(JOB, start)
    if error := st.session_state.pop(_ERROR, None):
        st.error(escape(error), icon=":material/error:")
    if job is None:
        if service and models:
            _show_example(service, models)
        return
    st.divider()
    if job.is_finished:
        _show_result(service, models, job)
    else:
        page_jobs.watch(job, progress_text)


def _show_example(service: Service, models: Models) -> None:
    start = partial(_start_on_example, service)
    example_dataset.show_button(models, service.models.models, start)


def _start_on_example(service: Service, models: Models) -> None:
    """Start a comparison on the example dataset, and choose its models."""
    try:
        data = example_dataset.load()
    except EvaluationError as error:
        st.session_state[_ERROR] = as_sentence(error)
        return
    url_state.put(MODE_PARAM, SET)
    for side, model in zip(SIDES, models, strict=True):
        url_state.put(side, model.name)
    _start_or_close(service, models, data)


def _finished_evaluation() -> EvaluationRun | None:
    """Return the result of the Evaluate page, if it is finished."""
    job = page_jobs.jobs().find(url_state.get(EVALUATION_JOB))
    evaluated: EvaluationRun | None = job.result if job and job.state == "done" else None
    return evaluated if evaluated and evaluated.data.has_images else None


def _start(service: Service, models: Models, data: Dataset) -> None:
    check_both(models, data)
    previous: list[Evaluation] = []
    if (evaluated := _finished_evaluation()) and evaluated.data is data and evaluated.evaluation:
        previous.append(evaluated.evaluation)
    a, b = (EvaluationTarget(service.client, coverage_of(service, model)) for model in models)
    title = f"{models[0].title} and {models[1].title} on {data.name}"
    page_jobs.start(JOB, partial(evaluate_both, (a, b), models, data, previous), COMPARISON, title)
    for param in report.URL_PARAMS:
        url_state.put(param, None)


def _start_on_uploaded(service: Service, models: Models, uploaded: Dataset) -> None:
    """Start a comparison on a dataset that is already uploaded."""
    try:
        data = uploaded.share()
    except EvaluationError as error:
        st.session_state[_ERROR] = as_sentence(error)
        return
    _start_or_close(service, models, data)


def _start_or_close(service: Service, models: Models, data: Dataset) -> None:
    try:
        _start(service, models, data)
    except (EvaluationError, BusyError) as error:
        data.close()
        message = BUSY_MESSAGE if isinstance(error, BusyError) else as_sentence(error)
        st.session_state[_ERROR] = message


def _show_result(service: Service | None, models: Models | None, job: Job) -> None:
    if job.error is not None or job.result is None:
        st.error("The comparison failed unexpectedly. Upload the dataset again.")
        return
    result: ComparisonResult = job.result
    comparison = result.comparison
    summary = report.summarize(comparison) if comparison else result.error or ""
    notifications.announce(summary, token=job.token, key="dataset compared")
    st.header(escape(f"A and B on {result.data.name}"), anchor=False)
    st.markdown(f"A: {escape(result.a.title)}. B: {escape(result.b.title)}.")
    if result.error:
        st.error(escape(result.error), icon=":material/error:")
    if not result.data.has_images:
        st.caption(dataset_upload.NO_IMAGES)
        service = None
    has_changed = models and [model.name for model in models] != [result.a.name, result.b.name]
    if service and models and (has_changed or result.error or result.stopped):
        st.button(
            escape(f"Compare {models[0].title} and {models[1].title} on the same images"),
            icon=":material/replay:",
            on_click=_start_on_uploaded,
            args=(service, models, result.data),
        )
    if comparison is not None:
        report.show(result, comparison)


page()
