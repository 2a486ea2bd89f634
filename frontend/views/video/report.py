"""What came of a clip, on the page: the player with captions, the timeline, a frame, the table."""

import io
from typing import Final, Literal

import streamlit as st
from PIL import Image

from client import ClientError
from frontend.service import errors
from frontend.state import url_state
from frontend.ui import alerts, classification
from frontend.ui.charts.timeline import PICK, Span, timeline_chart
from frontend.ui.components import announce
from frontend.ui.formatting import plain
from frontend.views.video import seek, status, table
from frontend.views.video.export import webvtt
from frontend.views.video.result import Reading

FRAME: Final = "frame"
_TIMELINE: Final = "timeline"
_MOST_HEIGHT: Final = 480  # px of the player
_COLUMN: Final = 640  # px: wider players fill the column
_BARS: Final = 5


def show(reading: Reading) -> None:
    """Show all of it."""
    kind = reading.question.model.input.kind
    lines = table.frequencies(reading.frames, kind)
    problem = status.of(reading)
    said = [problem.what] if problem else ["The clip is read."]
    token = reading.source.clip.parent.name
    announce.show(" ".join([*said, *lines[:1]]), token=token, key="clip read")
    st.subheader(plain(reading.source.name), anchor=False)
    if problem:
        if reading.frames:
            st.warning(f"{plain(problem.what)} {plain(problem.advice)}", icon=":material/warning:")
        else:
            alerts.show(problem)
    if not reading.frames:
        return
    _play(reading)
    st.markdown("\n".join(f"- {plain(line)}" for line in lines))
    st.caption(plain(_asked(reading)))
    _explore(reading)
    with st.expander("All frames as a table", icon=":material/table_rows:"):
        st.dataframe(
            table.rows(reading.frames, kind),
            hide_index=True,
            column_config={"Second": st.column_config.NumberColumn(format="%.2f")},
        )
    _offer_files(reading)


def is_partial(reading: Reading) -> bool:
    """Tell whether reading the same clip once more may bring more."""
    return reading.stopped or reading.failure is not None


def forget() -> None:
    """Begin with the first frame of the next clip."""
    url_state.put(FRAME, None)


def _play(reading: Reading) -> None:
    if reading.played is None:
        st.info("There is no copy of this clip that a browser can play.")
        return
    path, media_type = reading.played
    kind = reading.question.model.input.kind
    st.video(
        str(path),
        format=media_type,
        subtitles={"Answers": webvtt(reading.frames, kind)},
        width=_width(reading),
        alt=f"The clip {reading.source.name} with the answers as captions",
    )


def _width(reading: Reading) -> int | Literal["stretch"]:
    """Return a width in pixels that keeps square and upright clips on the screen."""
    with Image.open(io.BytesIO(reading.frames[0].thumbnail)) as first:
        width = round(_MOST_HEIGHT * first.width / first.height)
    return width if width < _COLUMN else "stretch"


def _asked(reading: Reading) -> str:
    model = reading.question.model
    frames = f"{len(reading.frames):,} frame{'' if len(reading.frames) == 1 else 's'}"
    copy = " What plays is a small copy without sound." if reading.end.preview else ""
    return f"{frames}, {reading.rate:g} per second, answered by {model.title}.{copy}"


@st.fragment
def _explore(reading: Reading) -> None:
    """Show when what was seen, and one frame of it with its answer."""
    number = _picked(reading)
    frame = reading.frames[number]
    kind = reading.question.model.input.kind
    spans = [
        Span(one.start, one.end, table.seen(one.outcome, kind), table.confidence(one.outcome))
        for one in reading.frames
    ]
    st.subheader("When", anchor=False)
    st.altair_chart(
        timeline_chart(spans, frame.start),
        key=_TIMELINE,
        on_select=lambda: _take_click(len(spans)),
        selection_mode=PICK,
        alt=f"Timeline. {'. '.join(table.frequencies(reading.frames, kind))}.",
    )
    st.caption("A bar is a frame: the thicker, the surer. Click one, or use the slider.")
    if len(spans) > 1:
        st.session_state[FRAME] = number
        st.select_slider(
            "Frame at second",
            range(len(spans)),
            format_func=lambda at: f"{reading.frames[at].start:.2f}",
            key=FRAME,
            on_change=_take_slider,
        )
    middle = (frame.start + min(frame.end, frame.start + 0.1)) / 2  # edges are another frame's too
    seek.show(round(middle, 3), is_first=number == 0, key="seek")
    with st.container(border=True):
        left, right = st.columns([2, 3], gap="medium")
        with left:
            st.image(frame.thumbnail, width=240, alt=f"The frame at second {frame.start:.2f}")
            st.caption(f"Frame {number + 1} of {len(spans)}, at second {frame.start:.2f}")
        with right:
            if isinstance(frame.outcome, ClientError):
                problem = errors.of(frame.outcome)
                st.error(f"{plain(problem.what)} {plain(problem.advice)}")
            else:
                classification.show_words(frame.outcome, reading.question.model)
                classification.show_figures(frame.outcome, reading.question.model, bars=_BARS)


def _picked(reading: Reading) -> int:
    """Return the number of the frame that the address names, else of the first."""
    wanted = url_state.get(FRAME) or ""
    number = int(wanted[:9]) if wanted.isascii() and wanted.isdigit() else 0
    return min(number, len(reading.frames) - 1)


def _take_click(frames: int) -> None:
    points = st.session_state[_TIMELINE].selection.get(PICK) or []
    number = points[0].get("frame") if points else None
    if isinstance(number, int) and 0 <= number < frames:
        url_state.put(FRAME, str(number))


def _take_slider() -> None:
    url_state.put(FRAME, str(st.session_state[FRAME]))


def _offer_files(reading: Reading) -> None:
    stem = reading.source.name.rsplit(".", 1)[0] or "clip"
    kind = reading.question.model.input.kind
    with st.container(horizontal=True):
        st.download_button(
            "Captions (WebVTT)",
            webvtt(reading.frames, kind),
            f"{stem}.vtt",
            "text/vtt",
            icon=":material/closed_caption:",
            on_click="ignore",
        )
        st.download_button(
            "Table (CSV)",
            table.as_csv(reading),
            f"{stem}.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
