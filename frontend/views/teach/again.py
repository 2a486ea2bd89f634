"""Teach a model again from the answers that people checked, and compare versions."""

from functools import partial
from typing import Final

import streamlit as st

from client import ModelVersion, ModelVersions
from frontend.datasets.training_set import TrainingSet
from frontend.service.session import Service
from frontend.state import page_jobs
from frontend.state.jobs import BusyError
from frontend.ui import alerts
from frontend.ui.components import notifications
from frontend.ui.formatting import count, escape, percent
from frontend.views.teach.again_job import (
    AgainRun,
    VersionComparison,
    compare_versions,
    teach_again,
)
from frontend.views.teach.teaching_job import BUSY_MESSAGE, progress_text

JOB: Final = "again"
SIGNIFICANCE: Final = 0.05
FEW: Final = 10  # images below which a comparison is called uncertain
_ERROR = "teach again error"


def show(service: Service, versions: ModelVersions, images: TrainingSet | None) -> AgainRun | None:
    """Show the button and the result; return the finished run of this model."""
    active = next((one for one in versions.versions if one.active), None)
    if active is None:
        return None
    st.subheader("Learn from feedback", anchor=False)
    st.markdown(
        "Answers that were confirmed or corrected on Classify or on History, with their images, "
        "and the images of the first training become a new version. One fifth of the checked "
        "images is kept for the comparison of both versions. The new version is not served until "
        "you activate it."
    )
    job = page_jobs.current(JOB)
    is_running = job is not None and not job.is_finished
    with st.container(horizontal=True, vertical_alignment="center"):
        is_used = _show_added(active, images)
        st.button(
            "Teach from feedback",
            icon=":material/history:",
            disabled=is_running,
            key="teach from feedback",
            on_click=_start,
            args=(service, versions.model, active, images if is_used else None),
        )
    if error := st.session_state.pop(_ERROR, None):
        st.error(error, icon=":material/error:")
    if job is None:
        return None
    if not job.is_finished:
        page_jobs.watch(job, progress_text)
        return None
    run: AgainRun | None = job.result
    if run is None:
        st.error("Teaching failed unexpectedly. Try again.")
    elif run.name == versions.model:
        _show_run(run, job.token)
        return run
    return None


def start_comparison(service: Service, active: ModelVersion, version: int) -> None:
    """Compare a version with the active one in the background."""
    _run(partial(compare_versions, service.client, active.name, active, version))


def _start(service: Service, name: str, active: ModelVersion, images: TrainingSet | None) -> None:
    added = images.images() if images else []
    _run(partial(teach_again, service.client, name, active, added))


def _run(work: partial[AgainRun]) -> None:
    try:
        page_jobs.start(JOB, work)
    except BusyError:
        st.session_state[_ERROR] = BUSY_MESSAGE


def _show_added(active: ModelVersion, images: TrainingSet | None) -> bool:
    """Return whether the images of the page are used too."""
    if images is None or not images.images():
        return False
    new = [label for label in images.labels if label not in active.labels]
    text = f"Also use the {count(len(images.images()), 'image', 'images')} above"
    if new:
        text += f", which adds {count(len(new), 'class', 'classes')}"
    return st.checkbox(text, key="teach again with images")


def _show_run(run: AgainRun, token: str) -> None:
    if run.is_canceled:
        st.info("Stopped. Nothing was changed.")
        return
    if run.problem is not None:
        alerts.show_message(run.problem)
    if run.new is None:
        return
    if run.is_taught:
        message = f"Version {run.new} of {run.name} is stored. It is not served yet."
        notifications.announce(message, token=token, key="taught again")
        answers = count(run.trained, "checked answer", "checked answers")
        parts = [f"{answers} ({run.corrected:,} corrected)"]
        parts += [count(run.added, "image of this page", "images of this page")] * bool(run.added)
        text = f"{message} It was taught with {' and '.join(parts)}."
        if run.left_out:
            text += f" Left out, of other classes: {run.left_out:,}."
        st.success(escape(text), icon=":material/check_circle:")
    if run.problem is None:
        _show_comparison(run)


def _show_comparison(run: AgainRun) -> None:
    comparison = run.comparison
    if comparison is None or not comparison.images:
        st.info(
            "There is no held-out checked image yet, so that the versions cannot be compared. "
            "Check more answers, or start a shadow: it compares them on new images."
        )
        return
    from evaluation.intervals import wilson  # imports SciPy

    number = comparison.images
    sides = (
        (f"Version {run.old}", comparison.both + comparison.only_old),
        (f"Version {run.new}", comparison.both + comparison.only_new),
    )
    with st.container(horizontal=True, gap="medium"):
        for name, right in sides:
            st.metric(name, percent(right / number), width="content")
    ranges = []
    for name, right in sides:
        interval = wilson(right, number)
        ranges.append(f"{name} {percent(interval.low)} to {percent(interval.high)}")
    st.caption(
        f"Accuracy on {count(number, 'checked image', 'checked images')}, which this page uses for "
        f"no training. 95% intervals: {'; '.join(ranges)}."
    )
    st.markdown(escape(summarize(comparison, run.old, run.new or 0)))


def summarize(comparison: VersionComparison, old: int, new: int) -> str:
    """Return which version is better on the held-out images, and how sure that is."""
    from evaluation.compare import mcnemar  # imports scikit-learn

    first, second = comparison.only_old, comparison.only_new
    text = describe_test(f"version {old}", first, f"version {new}", second, mcnemar(first, second))
    if comparison.images < FEW:
        text += f" A comparison on fewer than {FEW} images is uncertain: check more answers."
    if comparison.wrong == comparison.images:
        text += (
            " The answer to all these images was wrong. Confirm right answers, too: otherwise it "
            "stays unknown whether the new version gives them."
        )
    return text


def describe_test(old: str, only_old: int, new: str, only_new: int, p_value: float) -> str:
    """Return the result of McNemar's test in words."""
    if not only_old + only_new:
        return "Both versions are right on the same images."
    counts = (
        f"Only {old} is right on {count(only_old, 'image', 'images')}, only {new} on {only_new:,}."
    )
    test = f"(McNemar's test, p = {p_value:.2g})"
    if p_value >= SIGNIFICANCE:
        return f"{counts} These are too few to say which is better {test}."
    better = old if only_old > only_new else new
    return f"{counts} {better.capitalize()} is better on images like these {test}."
