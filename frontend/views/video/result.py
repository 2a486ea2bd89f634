"""A clip, and what a model said of its frames."""

import shutil
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from client import ClientError
from frontend.service.predictions import Outcome, Question
from frontend.views.video.protocol import End, Info

MEDIA_TYPES: Final = {"mp4": "video/mp4", "webm": "video/webm"}


class Source:
    """A clip in a folder of its own, which goes when this is closed or no longer used."""

    def __init__(self, name: str) -> None:
        self.name = name
        folder = Path(mkdtemp(prefix="clip-"))
        self.clip: Final = folder / "clip"
        self.preview: Final = folder / "preview"
        self.close: Final = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    @classmethod
    def of(cls, name: str, content: bytes | memoryview) -> "Source":
        """Put the bytes of a file there; raises OSError, and leaves nothing, where that fails."""
        source = cls(name)
        try:
            source.clip.write_bytes(content)
        except OSError:
            source.close()
            raise
        return source

    def again(self) -> "Source":
        """Return the same clip in a folder of its own, to be read once more; raises OSError."""
        source = Source(self.name)
        try:
            source.clip.hardlink_to(self.clip)
        except OSError:
            source.close()
            raise
        return source


@dataclass(frozen=True, slots=True)
class Answered:
    """A frame that was asked for; it is seen from `start` until `end`, in the player's seconds."""

    start: float
    end: float
    outcome: Outcome
    thumbnail: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a clip: all of it, or what there was when it `end`ed or was `stopped`.

    `info` is None where nothing of the file could be read. `failure` is why the backend was given
    up, None where it was not.
    """

    source: Source
    question: Question
    rate: float
    info: Info | None
    end: End
    frames: Sequence[Answered]
    failure: ClientError | None = None
    stopped: bool = False

    @property
    def played(self) -> tuple[Path, str] | None:
        """The file that browsers play and its media type; None where there is none."""
        if self.end.preview is not None:
            return self.source.preview, MEDIA_TYPES[self.end.preview]
        if self.info is None or not self.info.plays:
            return None
        return self.source.clip, MEDIA_TYPES["webm" if "vp" in self.info.codec else "mp4"]

    def close(self) -> None:
        """Remove the clip."""
        self.source.close()
