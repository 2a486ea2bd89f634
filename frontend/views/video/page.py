"""The page that classifies the frames of a clip."""

from collections.abc import Callable
from functools import partial

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from client import ModelInfo
from frontend.datasets import image_upload
from frontend.service import session
from frontend.service.session import Service
from frontend.state import page_jobs, url_state
from frontend.state.jobs import BusyError, Job
from frontend.ui import alerts
from frontend.ui.alerts import Problem
from frontend.ui.formatting import count, escape
from frontend.views.video import limits, report, video_job
from frontend.views.video.result import VideoResult
from frontend.views.video.source import EXAMPLE_NAME, ClipSource, create_example

JOB = "video"
RATE = "rate"
_FILE = "clip"
_ROUND = "clip round"  # a new round gives the uploader a new key, which empties it


def page() -> None:
    """Show the page."""
    service = session.ready()
    st.title("Video", anchor=False)
    st.markdown("Upload a video to classify its frames. Predictions appear as captions.")
    if isinstance(service, Service):
        st.markdown(escape(describe_model(service.model)))
    else:
        session.show_problem(service)
    job = page_jobs.current(JOB)
    result = job.result if job and isinstance(job.result, VideoResult) else None
    is_running = job is not None and not job.is_finished
    show_controls(service, result, is_running)
    if job is None:
        return
    st.divider()
    if is_running:
        page_jobs.watch(job, format_progress)
    elif result is not None:
        report.show(result)
    else:
        alerts.show(Problem("The video could not be classified.", "Upload it again."))


def describe_model(model: ModelInfo) -> str:
    """Return what the model recognizes, and its prediction for other scenes."""
    name = f"The model “{model.title}”"
    if model.input.kind == "digit":
        scope = f"{name} recognizes one handwritten digit that fills most of the frame."
        others = "Most other scenes are shown as “Not a digit”."
    else:
        classes = count(len(model.labels), "class", "classes")
        examples = ", ".join(model.labels[:3])
        scope = f"{name} recognizes {classes}, such as {examples}."
        others = "Other scenes are shown as “Not one of the model's classes”."
    if model.calibration is None or model.calibration.max_ood_score is None:
        others = "It cannot detect other scenes, so it assigns each one to the most similar class."
    return f"{scope} {others}"


def show_controls(service: Service | Problem, result: VideoResult | None, is_running: bool) -> None:
    """Show the uploader, the frame rate and the buttons, and start a job on a click."""
    file = _show_uploader()
    rate = _show_rate()
    label, is_enabled = "Classify the video", file is not None
    if isinstance(service, Problem):
        is_enabled = False
    elif file is None and result is not None and (result.frames or result.is_partial):
        has_changed = (result.rate, result.request) != (rate, service.request)
        label, is_enabled = "Classify this video again", has_changed or result.is_partial
    with st.container(horizontal=True):
        is_start_clicked = st.button(
            label,
            icon=":material/play_arrow:",
            type="primary",
            disabled=is_running or not is_enabled,
        )
        is_example_clicked = st.button(
            "Try an example",
            icon=":material/movie:",
            disabled=is_running or isinstance(service, Problem),
        )
    if isinstance(service, Problem):
        return
    if is_example_clicked:
        clip = create_example(service.model.input.kind)
        _start(service, partial(ClipSource.create, EXAMPLE_NAME, clip), rate)
    elif is_start_clicked and file is not None:
        _start(service, partial(ClipSource.create, file.name, file.getbuffer()), rate, file)
    elif is_start_clicked and result is not None:
        _start(service, result.source.copy, rate)


def format_progress(job: Job) -> str:
    """Return how many frames are classified."""
    if not job.total:
        return f"{count(job.done, 'frame', 'frames')} classified. {job.note}"
    return f"{job.done} of {count(job.total, 'frame', 'frames')} classified. {job.note}"


def _show_uploader() -> UploadedFile | None:
    """Show the uploader, and return the file if it is within the size limit."""
    max_size = min(limits.MAX_FILE_MB, st.get_option("server.maxUploadSize"))
    file = st.file_uploader(
        "Video file",
        type=list(limits.FILE_EXTENSIONS),
        max_upload_size=max_size,
        key=f"{_FILE} {st.session_state.setdefault(_ROUND, 0)}",
    )
    st.caption(
        f"The first {limits.MAX_SECONDS} seconds are classified, up to {limits.MAX_FRAMES:,} "
        f"frames. Maximum file size: {max_size} MB. Maximum frame size: "
        f"{limits.MAX_PIXELS / 1e6:.1f} million pixels (4096 x 2304)."
    )
    if file is not None and file.size > max_size * 2**20:
        advice = "Shorten the video, or save it at a lower quality."
        alerts.show(Problem(f"This file is larger than {max_size} MB.", advice))
        return None
    return file


def _show_rate() -> float:
    value = url_state.get(RATE)
    rate = next(
        (rate for rate in limits.FRAME_RATES if f"{rate:g}" == value), limits.DEFAULT_FRAME_RATE
    )
    st.session_state[RATE] = rate
    st.radio(
        "Frames per second",
        limits.FRAME_RATES,
        format_func=lambda rate: f"{rate:g}",
        key=RATE,
        horizontal=True,
        on_change=lambda: url_state.put(RATE, f"{st.session_state[RATE]:g}"),
    )
    return rate


def _start(
    service: Service,
    create_source: Callable[[], ClipSource],
    rate: float,
    upload: UploadedFile | None = None,
) -> None:
    """Write the clip to disk and start the job; release the memory of the upload."""
    try:
        source = create_source()
    except OSError:
        alerts.show(
            Problem(
                "There is not enough memory or disk space for this video.",
                "Try again later, or upload a smaller video.",
            )
        )
        return
    work = partial(
        video_job.classify_clip,
        client=service.client,
        request=service.request,
        source=source,
        rate=rate,
    )
    try:
        page_jobs.start(JOB, work)
    except BusyError:
        source.close()
        alerts.show(Problem("Too many jobs are running.", "Try again in a minute."))
        return
    url_state.put(RATE, f"{rate:g}")
    report.clear_selection()
    st.session_state[_ROUND] += 1
    if upload is not None:
        image_upload.release_memory([upload])
    st.rerun()


page()
