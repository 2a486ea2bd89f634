"""The page that compares two models, on one picture or on labelled ones."""

from functools import partial

import streamlit as st

from client import ModelInfo
from evaluation.errors import EvaluationError
from evaluation.results import Evaluation
from frontend import link, notices, problems, serving, work
from frontend.classifying import intake
from frontend.components import announce
from frontend.jobs import BusyError, Job
from frontend.measuring import comparing, differences, side_by_side
from frontend.measuring import intake as labelled_intake
from frontend.measuring.comparing import Compared, check_both, measure_both
from frontend.measuring.intake import BUSY
from frontend.measuring.labelled import Labelled
from frontend.measuring.measure import Backend, Measurement, progress, sentence
from frontend.measuring.side_by_side import Models, coverage_of
from frontend.serving import Service
from frontend.words import plain

JOB = "comparison"
EVALUATION = "evaluation"  # the job of the page Evaluate
SIDES = ("a", "b")
ON = "on"
MODES = {"picture": "One picture", "set": "Labelled pictures"}
_TROUBLE = "comparison trouble"


def page() -> None:
    """Show the page."""
    service = serving.ready()
    st.title("Compare", anchor=False)
    st.markdown("Two models, the same pictures: where do they differ, and which is better?")
    models = None
    if isinstance(service, Service):
        models = _models(service)
    else:
        notices.show_service(service)
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
    a = served.get(link.get("a") or "") or service.model
    others = [model for model in served.values() if model.name != a.name]
    b = next((model for model in others if model.name == link.get("b")), others[0])
    for column, side, model, options in zip(
        st.columns(2), SIDES, (a, b), (list(served.values()), others), strict=True
    ):
        with column:
            _choice(side, model, options)
    if told := comparing.fits(a, b):
        st.caption(plain(told))
    for model in (a, b):
        if problem := problems.of_model(model):
            notices.show(problem)
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
        on_change=lambda: link.put(side, st.session_state[key]),
    )


def _mode() -> str:
    mode = link.get(ON)
    st.session_state["compare on"] = mode if mode in MODES else "picture"
    chosen: str = st.radio(
        "Compare them on",
        list(MODES),
        format_func=MODES.__getitem__,
        horizontal=True,
        key="compare on",
        on_change=lambda: link.put(ON, st.session_state["compare on"]),
    )
    return chosen


def _show_picture(service: Service, models: Models) -> None:
    intake.show(models[0].input.kind)
    pictures = intake.chosen()
    if not pictures:
        return
    st.divider()
    if len(pictures) > 1:
        st.caption("One picture at a time is compared: the first of those chosen.")
    side_by_side.show(service, models, pictures[0])
    st.button("Clear", icon=":material/close:", on_click=intake.clear)


def _show_set(service: Service | None, models: Models | None) -> None:
    job = work.current(JOB)
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
        work.watch(job, progress)


def _measured() -> Measurement | None:
    """Return what the page Evaluate has, where that is over."""
    job = work.jobs().find(link.get(EVALUATION))
    found: Measurement | None = job.result if job and job.state == "done" else None
    return found


def _begin(service: Service, models: Models, data: Labelled) -> None:
    check_both(models, data)
    known: list[Evaluation] = []
    if (measured := _measured()) and measured.data is data and measured.evaluation:
        known.append(measured.evaluation)
    a, b = (Backend(service.client, coverage_of(service, model)) for model in models)
    work.start(JOB, partial(measure_both, (a, b), models, data, known))
    for name in differences.STATE:
        link.put(name, None)


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
    said = comparing.verdict(comparison) if comparison else found.trouble or ""
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
        differences.show(found, comparison)


page()
