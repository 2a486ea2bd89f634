"""What became of a clip, in words."""

from typing import Final

from frontend.service import errors
from frontend.service.errors import Problem
from frontend.views.video import limits
from frontend.views.video.protocol import Trouble
from frontend.views.video.result import Reading

_SMALLER: Final = "Save it smaller, such as 1280 x 720 (720p), or cut it shorter."
_TROUBLES: Final[dict[Trouble, Problem]] = {
    "unreadable": Problem(
        "This file is not a video that can be read here, or it is not complete.",
        "Choose an MP4, MOV, WebM, MKV, AVI, WMV, MPEG, Ogg, FLV or GIF file; "
        "if it is one, record or save it again.",
    ),
    "codec": Problem(
        "The pictures in this file are coded in a way that is not read here.",
        "Save the clip as MP4 with H.264 and choose that file.",
    ),
    "no_video": Problem("There are no moving pictures in this file.", "Choose another one."),
    "pixels": Problem(
        f"The pictures of this clip are larger than {limits.PIXELS / 1e6:.1f} million pixels.",
        "Save it smaller, such as 1920 x 1080 (1080p).",
    ),
    "empty": Problem("There is not one picture in this clip.", "Choose another one."),
    "damaged": Problem("This clip is damaged.", "Record or save it again."),
    "short": Problem("This clip ends before it should: a part is missing.", "Save it again."),
    "memory": Problem("This clip needs more memory than there is for it.", _SMALLER),
    "slow": Problem("Reading this clip takes too long.", _SMALLER),
    "crashed": Problem(
        "Reading this clip broke off.", "Save it as MP4 with H.264 and choose that file."
    ),
}


def of(reading: Reading) -> Problem | None:
    """Say why not all of the clip was read, or None where it was.

    That a person stopped it comes first, then that the backend was away, then what the clip is.
    """
    if reading.stopped:
        what = "It was stopped."
        return Problem(f"{what} {_until(reading)}", "Read it again to have the rest.")
    if reading.failure is not None:
        problem = errors.of(reading.failure)
        again = "Read it again when the backend is back to have the rest."
        return Problem(f"{problem.what} {_until(reading)}", f"{problem.advice} {again}")
    if reading.end.trouble is not None:
        problem = _TROUBLES[reading.end.trouble]
        return Problem(f"{problem.what} {_until(reading)}".strip(), problem.advice)
    if reading.end.cut:
        return Problem(
            f"The clip is longer than what is read of one. {_until(reading)}", _advice(reading)
        )
    return None


def _until(reading: Reading) -> str:
    if not reading.frames:
        return "" if reading.end.trouble else "Nothing was read before that."
    seconds = reading.frames[-1].end
    return f"What follows is of its first {seconds:.1f} seconds."


def _advice(reading: Reading) -> str:
    if len(reading.frames) == limits.FRAMES and reading.end.seconds < limits.SECONDS - 1:
        return (
            f"{limits.FRAMES:,} frames are read at most: choose fewer per second to get further, "
            "or cut the clip into parts."
        )
    return f"Cut it into parts of {limits.SECONDS} seconds to have the rest."
