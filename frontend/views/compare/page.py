"""The page that compares two models, on one picture or on labelled ones."""

from functools import partial

import streamlit as st

from client import ModelInfo
from evaluation.errors import EvaluationError
from evaluation.results import Evaluation
from frontend.datasets import dataset_upload as labelled_intake
from frontend.datasets import upload
from frontend.datasets.dataset import Labelled
from frontend.datasets.dataset_upload import BUSY
from frontend.datasets.evaluation_job import Backend, Measurement, progress, sentence
from frontend.service import errors, session
from frontend.service.session import Service
from frontend.state import page_jobs, url_state
from frontend.state.jobs import BusyError, Job
from frontend.ui import alerts
from frontend.ui.components import announce
from frontend.ui.formatting import plain
from frontend.views.compare import comparison_job, report, side_by_side
from frontend.views.compare.comparison_job import Compared, check_both, measure_both
from frontend.views.compare.side_by_side import Models, coverage_of

JOB = "comparison"
EVALUATION = "evaluation"  # the job of the page Evaluate
SIDES = ("a", "b")
ON = "on"
MODES = {"picture": "One picture", "set": "Labelled pictures"}
_TROUBLE = "comparison trouble"


def page() -> None:
    """Show the page."""
    service = session.ready()
    st.title("Compare", anchor=False)
    st.markdown("Two models, the same pictures: where do they differ, and which is better?")
    models = None
    if isinstance(service, Service):
        models = _models(service)
    else:
        alerts.show_service(service)
    mode = _mode()
    if mode == "set":
        _show_set(service if isinstance(service, Service) else None, models)
    elif isinstance(service, Service) and models:
        _show_picture(service, models)


def _models(service: Service) -> Models | None:
    """Let two models be chosen; None where there are not two that can answer."""
    served = {model.name: model for model in service.models.models}
    if len(served) < 2:
        st.info(
            "The backend serves one model only; comparing needs a second one. Put its folder under "
            "`models/` and start the backend again. `python -m training.package` makes such a "
            "folder of a checkpoint."
        )
        return None
    a = served.get(url_state.get("a") or "") or service.model
    others = [model for model in served.values() if model.name != a.name]
    b = next((model for model in others if model.name == url_state.get("b")), others[0])
    for column, side, model, options in zip(
        st.columns(2), SIDES, (a, b), (list(served.values()), others), strict=True
    ):
        with column:
            _choice(side, model, options)
    if told := comparison_job.fits(a, b):
        st.caption(plain(told))
    for model in (a, b):
        if problem := errors.of_model(model):
            alerts.show(problem)
            return None
    return a, b


def _choice(side: str, model: ModelInfo, options: list[ModelInfo]) -> None:
    titles = {one.name: one.title for one in options}
    key = f"model {side}"
    st.session_state[key] = model.name
    st.selectbox(
        f"Model {side.upper()}",
        list(titles),
        format_func=lambda name: titles.get(name, name),
        key=key,
        on_change=lambda: url_state.put(side, st.session_state[key]),
    )


def _mode() -> str:
    mode = url_state.get(ON)
    st.session_state["compare on"] = mode if mode in MODES else "picture"
    chosen: str = st.radio(
        "Compare them on",
        list(MODES),
        format_func=MODES.__getitem__,
        horizontal=True,
        key="compare on",
        on_change=lambda: url_state.put(ON, st.session_state["compare on"]),
    )
    return chosen


def _show_picture(service: Service, models: Models) -> None:
    upload.show(models[0].input.kind)
    pictures = upload.chosen()
    if not pictures:
        return
    st.divider()
    if len(pictures) > 1:
        st.caption("One picture at a time is compared: the first of those chosen.")
    side_by_side.show(service, models, pictures[0])
    st.button("Clear", icon=":material/close:", on_click=upload.clear)


def _show_set(service: Service | None, models: Models | None) -> None:
    job = page_jobs.current(JOB)
    measured = _measured()
    if service and models and measured:
        st.button(
            f"Compare on {plain(measured.data.name)}, measured on the page Evaluate",
            icon=":material/fact_check:",
            on_click=_again,
            args=(service, models, measured.data),
        )
    begin = partial(_begin, service, models) if service and models else None
    if models or service is None:
        labelled_intake.show(JOB, begin)
    if trouble := st.session_state.pop(_TROUBLE, None):
        st.error(plain(trouble), icon=":material/error:")
    if job is None:
        return
    st.divider()
    if job.is_over:
        _show_result(service, models, job)
    else:
        page_jobs.watch(job, progress)


def _measured() -> Measurement | None:
    """Return what the page Evaluate has, where that is over."""
    job = page_jobs.jobs().find(url_state.get(EVALUATION))
    found: Measurement | None = job.result if job and job.state == "done" else None
    return found


def _begin(service: Service, models: Models, data: Labelled) -> None:
    check_both(models, data)
    known: list[Evaluation] = []
    if (measured := _measured()) and measured.data is data and measured.evaluation:
        known.append(measured.evaluation)
    a, b = (Backend(service.client, coverage_of(service, model)) for model in models)
    page_jobs.start(JOB, partial(measure_both, (a, b), models, data, known))
    for name in report.STATE:
        url_state.put(name, None)


def _again(service: Service, models: Models, kept: Labelled) -> None:
    """Compare on pictures that are there already."""
    try:
        data = kept.share()
    except EvaluationError as error:
        st.session_state[_TROUBLE] = sentence(error)
        return
    try:
        _begin(service, models, data)
    except (EvaluationError, BusyError) as error:
        data.close()
        st.session_state[_TROUBLE] = BUSY if isinstance(error, BusyError) else sentence(error)


def _show_result(service: Service | None, models: Models | None, job: Job) -> None:
    if job.error is not None or job.result is None:
        st.error("This could not be compared: the work ended unexpectedly. Choose the data again.")
        return
    found: Compared = job.result
    st.header(plain(f"A and B on {found.data.name}"), anchor=False)
    st.markdown(f"A is {plain(found.a.title)}, B is {plain(found.b.title)}.")
    comparison = found.comparison
    said = comparison_job.verdict(comparison) if comparison else found.trouble or ""
    announce.show(said, token=job.token, key="both measured")
    if found.trouble:
        st.error(plain(found.trouble), icon=":material/error:")
    is_other = models and [model.name for model in models] != [found.a.name, found.b.name]
    if service and models and (is_other or found.trouble or found.stopped):
        st.button(
            plain(f"Compare {models[0].title} and {models[1].title} on the same pictures"),
            icon=":material/replay:",
            on_click=_again,
            args=(service, models, found.data),
        )
    if comparison is not None:
        report.show(found, comparison)


page()
