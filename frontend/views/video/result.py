"""The classified frames of a clip."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client import ClientError
from frontend.service.predictions import Outcome, PredictionRequest
from frontend.views.video.protocol import ClipInfo, End
from frontend.views.video.source import ClipSource

MEDIA_TYPES: Final = {"mp4": "video/mp4", "webm": "video/webm"}


@dataclass(frozen=True, slots=True)
class ClassifiedFrame:
    """A frame with its outcome; `start` and `end` are in seconds of the player's clock."""

    start: float
    end: float
    outcome: Outcome
    thumbnail: bytes


@dataclass(frozen=True, slots=True)
class VideoResult:
    """The result for a clip: complete, or up to an error (`end`, `failure`) or a stop.

    `info` is None if the file's header could not be read. `failure` is the backend error that ended
    the job, if any.
    """

    source: ClipSource
    request: PredictionRequest
    rate: float
    info: ClipInfo | None
    end: End
    frames: Sequence[ClassifiedFrame]
    failure: ClientError | None = None
    is_stopped: bool = False

    @property
    def is_partial(self) -> bool:
        """Whether classifying the same clip again may yield more frames."""
        return self.is_stopped or self.failure is not None

    @property
    def playable_file(self) -> tuple[Path, str] | None:
        """The file that browsers can play and its media type, if any."""
        if self.end.preview is not None:
            return self.source.preview, MEDIA_TYPES[self.end.preview]
        if self.info is None or not self.info.is_playable:
            return None
        return self.source.clip, MEDIA_TYPES["webm" if "vp" in self.info.codec else "mp4"]

    def close(self) -> None:
        """Remove the clip."""
        self.source.close()
