"""The page that classifies the frames of a clip."""

from collections.abc import Callable
from functools import partial

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from client import ModelInfo
from frontend.datasets import upload_memory
from frontend.service import session
from frontend.service.errors import Problem
from frontend.service.session import Service
from frontend.state import page_jobs, url_state
from frontend.state.jobs import BusyError, Job
from frontend.ui import alerts
from frontend.ui.formatting import count, plain
from frontend.views.video import source as example, limits, report, video_job
from frontend.views.video.result import Reading, Source

JOB = "video"
RATE = "rate"
_FILE = "clip"
_ROUND = "clip round"  # a new round gives the uploader a new key, which empties it


def page() -> None:
    """Show the page."""
    service = session.ready()
    st.title("Video", anchor=False)
    st.markdown("Give it a clip; it says what it sees in each frame, over the picture.")
    if isinstance(service, Service):
        st.markdown(plain(purpose(service.model)))
    else:
        alerts.show_service(service)
    job = page_jobs.current(JOB)
    done = job.result if job and isinstance(job.result, Reading) else None
    is_running = job is not None and not job.is_over
    offer(service, done, is_running)
    if job is None:
        return
    st.divider()
    if is_running:
        page_jobs.watch(job, said)
    elif done is not None:
        report.show(done)
    else:
        alerts.show(Problem("The clip could not be read.", "Choose it once more."))


def purpose(model: ModelInfo) -> str:
    """Say what the model is made for, and what it says of everything else."""
    if model.input.kind == "digit":
        made = f"{model.title} is made for one handwritten digit, large in the picture."
        none = "Of other scenes it mostly says that they do not look like a digit."
    else:
        classes = count(len(model.labels), "class", "classes")
        examples = ", ".join(model.labels[:3])
        made = f"{model.title} is made for pictures of {classes}, such as {examples}."
        none = "Of other scenes it says that they do not look like anything it knows."
    if model.calibration is None or model.calibration.max_ood_score is None:
        none = "It cannot tell what is something else: then it names the closest it knows."
    return f"{made} {none}"


def offer(service: Service | Problem, done: Reading | None, is_running: bool) -> None:
    """Let people choose a clip and how closely it is looked at, and begin."""
    file = _file()
    rate = _rate()
    label, is_offered = "Read the clip", file is not None
    if isinstance(service, Problem):
        is_offered = False
    elif file is None and done is not None and (done.frames or report.is_partial(done)):
        is_other = (done.rate, done.question) != (rate, service.question)
        label, is_offered = "Read this clip again", is_other or report.is_partial(done)
    with st.container(horizontal=True):
        is_wanted = st.button(
            label,
            icon=":material/play_arrow:",
            type="primary",
            disabled=is_running or not is_offered,
        )
        is_example_wanted = st.button(
            "Try an example",
            icon=":material/movie:",
            disabled=is_running or isinstance(service, Problem),
        )
    if isinstance(service, Problem):
        return
    if is_example_wanted:
        clip = example.clip(service.model.input.kind)
        _begin(service, partial(Source.of, example.NAME, clip), rate)
    elif is_wanted and file is not None:
        _begin(service, partial(Source.of, file.name, file.getbuffer()), rate, file)
    elif is_wanted and done is not None:
        _begin(service, done.source.again, rate)


def said(job: Job) -> str:
    """Say how far a clip has been read."""
    if not job.total:
        return f"{count(job.done, 'frame', 'frames')} read. {job.note}"
    return f"{job.done} of {count(job.total, 'frame', 'frames')} read. {job.note}"


def _file() -> UploadedFile | None:
    """Return the file that was chosen and is not too large."""
    most = min(limits.MEGABYTES, st.get_option("server.maxUploadSize"))
    file = st.file_uploader(
        "A clip from your device",
        type=list(limits.TYPES),
        max_upload_size=most,
        key=f"{_FILE} {st.session_state.setdefault(_ROUND, 0)}",
    )
    st.caption(
        f"The first {limits.SECONDS} seconds are read, {limits.FRAMES:,} frames at most. "
        f"A file has up to {most} MB, a picture up to {limits.PIXELS / 1e6:.1f} million pixels "
        "(4096 x 2304)."
    )
    if file is not None and file.size > most * 2**20:
        alerts.show(Problem(f"This file has more than {most} MB.", "Cut it or save it smaller."))
        return None
    return file


def _rate() -> float:
    wanted = url_state.get(RATE)
    rate = next((rate for rate in limits.RATES if f"{rate:g}" == wanted), limits.USUAL_RATE)
    st.session_state[RATE] = rate
    st.radio(
        "Frames per second",
        limits.RATES,
        format_func=lambda rate: f"{rate:g}",
        key=RATE,
        horizontal=True,
        on_change=lambda: url_state.put(RATE, f"{st.session_state[RATE]:g}"),
    )
    return rate


def _begin(
    service: Service, put: Callable[[], Source], rate: float, upload: UploadedFile | None = None
) -> None:
    """Put the clip on the disk and begin to read it; an upload is not kept besides."""
    try:
        source = put()
    except OSError:
        what = "There is no room here for a clip at the moment."
        alerts.show(Problem(what, "Try again later, or choose a smaller one."))
        return
    asked = partial(
        video_job.read, client=service.client, question=service.question, source=source, rate=rate
    )
    try:
        page_jobs.start(JOB, asked)
    except BusyError:
        source.close()
        alerts.show(Problem("Too much is under way at the moment.", "Try again in a minute."))
        return
    url_state.put(RATE, f"{rate:g}")
    report.forget()
    st.session_state[_ROUND] += 1
    if upload is not None:
        upload_memory.release([upload])
    st.rerun()


page()
