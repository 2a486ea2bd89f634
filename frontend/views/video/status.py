"""Messages about videos that were not classified completely."""

from typing import Final

from frontend.service import errors
from frontend.ui.alerts import Problem
from frontend.views.video import limits
from frontend.views.video.protocol import ErrorCode
from frontend.views.video.result import VideoResult

_REDUCE: Final = "Save it at a lower resolution, such as 1280 x 720 (720p), or shorten it."
_PROBLEMS: Final[dict[ErrorCode, Problem]] = {
    "unreadable": Problem(
        "This file is not a supported video, or it is incomplete.",
        "Upload an MP4, MOV, WebM, MKV, AVI, WMV, MPEG, Ogg, FLV or GIF file. "
        "If it already is one of these, export or record it again.",
    ),
    "codec": Problem(
        "The video codec of this file is not supported.",
        "Save the video as MP4 with H.264 and upload that file.",
    ),
    "no_video": Problem("This file contains no video.", "Upload another file."),
    "pixels": Problem(
        f"The frames of this video have more than {limits.MAX_PIXELS / 1e6:.1f} million pixels.",
        "Save it at a lower resolution, such as 1920 x 1080 (1080p).",
    ),
    "empty": Problem("This video contains no frames.", "Upload another file."),
    "damaged": Problem("This video is damaged.", "Record or save it again."),
    "short": Problem("This video ends early: part of it is missing.", "Save it again."),
    "memory": Problem("Decoding this video exceeds the memory limit.", _REDUCE),
    "slow": Problem("Decoding this video exceeds the time limit.", _REDUCE),
    "crashed": Problem(
        "Decoding this video failed.", "Save it as MP4 with H.264 and upload that file."
    ),
}


def describe_problem(result: VideoResult) -> Problem | None:
    """Return why not every frame was classified, or None.

    A stop takes precedence over a backend failure, and that over an error in the clip.
    """
    if result.is_stopped:
        return Problem(
            f"Stopped. {_describe_extent(result)}",
            "Classify it again to process the remaining frames.",
        )
    if result.failure is not None:
        problem = errors.describe(result.failure)
        again = "Classify it again when the backend is available."
        return Problem(f"{problem.message} {_describe_extent(result)}", f"{problem.advice} {again}")
    if result.end.error is not None:
        problem = _PROBLEMS[result.end.error]
        return Problem(f"{problem.message} {_describe_extent(result)}".strip(), problem.advice)
    if result.end.is_truncated:
        return Problem(
            f"The video is longer than the limit. {_describe_extent(result)}", _advise(result)
        )
    return None


def _describe_extent(result: VideoResult) -> str:
    if not result.frames:
        return "" if result.end.error else "No frame was classified."
    return f"The results cover the first {result.frames[-1].end:.1f} seconds."


def _advise(result: VideoResult) -> str:
    if len(result.frames) == limits.MAX_FRAMES and result.end.seconds < limits.MAX_SECONDS - 1:
        return (
            f"At most {limits.MAX_FRAMES:,} frames are classified: choose fewer frames per second, "
            "or split the video."
        )
    return f"Split it into parts of {limits.MAX_SECONDS} seconds to classify the rest."
