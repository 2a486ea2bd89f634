"""Every failure of the core, on one screen.

PrismError
├── ImageError                 this picture cannot be classified; the next one may well be
│   ├── EmptyImageError        no bytes at all
│   ├── UnsupportedImageError  not an image, or of a format that is not read
│   ├── BrokenImageError       an image of a known format, but damaged
│   └── ImageTooLargeError     more bytes or pixels than allowed
├── PixelsError                a row of raw pixels has the wrong shape, type or range
├── ModelError                 the model, not the picture, is at fault
│   ├── ArtifactError          a model folder that cannot be read or trusted
│   ├── SourceError            an address that gives no model folder
│   │   └── UnreachableError   nobody answers there; an earlier copy may do
│   ├── RuntimeMissingError    the runtime asked for is not installed
│   ├── UnknownModelError      no model of that name is served
│   ├── ModelNotReadyError     the model is still loading, or failed to load
│   └── InferenceError         the forward pass failed or gave numbers that are not finite
├── QueueFullError             more work than the queue holds; try again later
├── DeadlineError              the answer would have come too late
└── ClosedError                shutting down, no new work is taken

The text of each is written for the person who sent the picture or runs the service: it never
holds a path, a memory address or another library's words, except ArtifactError, which names the
folder and is shown to the operator only, and SourceError, which names the address, always without
its query and credentials.
"""


class PrismError(Exception):
    """Root of the tree."""


class ImageError(PrismError):
    """This picture cannot be classified."""


class EmptyImageError(ImageError):
    """No bytes at all."""


class UnsupportedImageError(ImageError):
    """Not an image, or of a format that is not read."""


class BrokenImageError(ImageError):
    """An image of a known format, but damaged."""


class ImageTooLargeError(ImageError):
    """More bytes or pixels than allowed."""


class PixelsError(PrismError):
    """A row of raw pixels has the wrong shape, type or range."""


class ModelError(PrismError):
    """The model, not the picture, is at fault."""


class ArtifactError(ModelError):
    """A model folder that cannot be read or trusted."""


class SourceError(ModelError):
    """An address that gives no model folder."""


class UnreachableError(SourceError):
    """Nobody answers there; an earlier copy may do."""


class RuntimeMissingError(ModelError):
    """The runtime asked for is not installed."""


class UnknownModelError(ModelError):
    """No model of that name is served."""


class ModelNotReadyError(ModelError):
    """The model is still loading, or failed to load."""


class InferenceError(ModelError):
    """The forward pass failed or gave numbers that are not finite."""


class QueueFullError(PrismError):
    """More work than the queue holds, or than is done in time; `retry_after` seconds may help."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineError(PrismError):
    """The answer would have come too late."""


class ClosedError(PrismError):
    """Shutting down, no new work is taken."""

    def __init__(
        self, message: str = "The service is shutting down. Send the request again."
    ) -> None:
        super().__init__(message)
