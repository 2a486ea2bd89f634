"""The result for a clip: player with captions, timeline, one frame, table, downloads."""

import io
from pathlib import Path
from typing import Final, Literal

import streamlit as st
from PIL import Image

from client import ClientError
from frontend.service import errors
from frontend.state import url_state
from frontend.ui import alerts, classification
from frontend.ui.charts.timeline import SELECTION, Span, timeline_chart
from frontend.ui.components import notifications
from frontend.ui.formatting import count, escape
from frontend.views.video import export, status
from frontend.views.video.result import VideoResult

FRAME: Final = "frame"
_TIMELINE: Final = "timeline"
_MAX_HEIGHT: Final = 480  # px of the player
_COLUMN_WIDTH: Final = 640  # px: wider players fill the column
_MAX_BARS: Final = 5

_seek = st.components.v2.component(
    "seek", html="<span></span>", js=(Path(__file__).parent / "seek.js").read_text("utf-8")
)


def show(result: VideoResult) -> None:
    """Show the result."""
    kind = result.request.model.input.kind
    lines = export.frequencies(result.frames, kind)
    problem = status.describe_problem(result)
    summary = problem.message if problem else "Video classified."
    token = result.source.clip.parent.name
    notifications.announce(" ".join([summary, *lines[:1]]), token=token, key="video classified")
    st.header(escape(result.source.name), anchor=False)
    if problem:
        if result.frames:
            st.warning(
                f"{escape(problem.message)} {escape(problem.advice)}", icon=":material/warning:"
            )
        else:
            alerts.show(problem)
    if not result.frames:
        return
    _show_player(result)
    st.markdown("\n".join(f"- {escape(line)}" for line in lines))
    st.caption(escape(_describe(result)))
    _show_timeline(result)
    with st.expander("All frames", icon=":material/table_rows:"):
        st.dataframe(
            export.to_rows(result.frames, kind),
            hide_index=True,
            column_config={"Time (s)": st.column_config.NumberColumn(format="%.2f")},
        )
    _show_downloads(result)


def clear_selection() -> None:
    """Select the first frame of the next clip."""
    url_state.put(FRAME, None)


def _show_player(result: VideoResult) -> None:
    if result.playable_file is None:
        st.info("Browsers cannot play this video, and no preview could be created.")
        return
    path, media_type = result.playable_file
    st.video(
        str(path),
        format=media_type,
        subtitles={"Predictions": export.to_webvtt(result.frames, result.request.model.input.kind)},
        width=_player_width(result),
        alt=f"Video {result.source.name} with predictions as captions",
    )


def _player_width(result: VideoResult) -> int | Literal["stretch"]:
    """Return a width in pixels at which square and portrait clips fit on the screen."""
    with Image.open(io.BytesIO(result.frames[0].thumbnail)) as first:
        width = round(_MAX_HEIGHT * first.width / first.height)
    return width if width < _COLUMN_WIDTH else "stretch"


def _describe(result: VideoResult) -> str:
    frames = count(len(result.frames), "frame", "frames")
    copy = " The player shows a reduced copy without sound." if result.end.preview else ""
    model = result.request.model.title
    return f"{frames}, {result.rate:g} per second, classified by {model}.{copy}"


@st.fragment
def _show_timeline(result: VideoResult) -> None:
    """Show the predictions over time, and the selected frame."""
    number = _selected_frame(result)
    frame = result.frames[number]
    kind = result.request.model.input.kind
    spans = [
        Span(
            one.start,
            one.end,
            export.prediction_name(one.outcome, kind),
            export.confidence(one.outcome),
        )
        for one in result.frames
    ]
    st.subheader("Timeline", anchor=False)
    st.altair_chart(
        timeline_chart(spans, frame.start),
        key=_TIMELINE,
        on_select=lambda: _select_clicked(len(spans)),
        selection_mode=SELECTION,
        alt=f"Timeline. {'. '.join(export.frequencies(result.frames, kind))}.",
    )
    st.caption(
        "Each bar is a frame; thicker bars have higher confidence. "
        "Click a bar or move the slider to select a frame."
    )
    if len(spans) > 1:
        st.session_state[FRAME] = number
        st.select_slider(
            "Selected frame (seconds)",
            range(len(spans)),
            format_func=lambda at: f"{result.frames[at].start:.2f}",
            key=FRAME,
            on_change=lambda: url_state.put(FRAME, str(st.session_state[FRAME])),
        )
    # The middle of the frame: at its edges the player may show a neighbor.
    middle = (frame.start + min(frame.end, frame.start + 0.1)) / 2
    # The player seeks to another frame, but stays untouched if a page opens at the first one.
    _seek(key="seek", data={"time": round(middle, 3), "first": number == 0})
    with st.container(border=True):
        left, right = st.columns([2, 3], gap="medium")
        with left:
            st.image(frame.thumbnail, width=240, alt=f"Frame at {frame.start:.2f} s")
            st.caption(f"Frame {number + 1} of {len(spans)}, at {frame.start:.2f} s")
        with right:
            if isinstance(frame.outcome, ClientError):
                problem = errors.describe(frame.outcome)
                st.error(f"{escape(problem.message)} {escape(problem.advice)}")
            else:
                classification.show_headline(frame.outcome, result.request.model)
                classification.show_details(frame.outcome, result.request.model, max_bars=_MAX_BARS)


def _selected_frame(result: VideoResult) -> int:
    """Return the frame number of the URL, by default 0."""
    value = url_state.get(FRAME) or ""
    number = int(value[:9]) if value.isascii() and value.isdigit() else 0
    return min(number, len(result.frames) - 1)


def _select_clicked(frames: int) -> None:
    points = st.session_state[_TIMELINE].selection.get(SELECTION) or []
    number = points[0].get("frame") if points else None
    if isinstance(number, int) and 0 <= number < frames:
        url_state.put(FRAME, str(number))


def _show_downloads(result: VideoResult) -> None:
    stem = result.source.name.rsplit(".", 1)[0] or "clip"
    with st.container(horizontal=True):
        st.download_button(
            "Captions (WebVTT)",
            export.to_webvtt(result.frames, result.request.model.input.kind),
            f"{stem}.vtt",
            "text/vtt",
            icon=":material/closed_caption:",
            on_click="ignore",
        )
        st.download_button(
            "Table (CSV)",
            export.to_csv(result),
            f"{stem}.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
