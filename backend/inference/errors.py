"""Exceptions of the inference core.

PrismError
├── ImageError                 the image cannot be classified; other images may be fine
│   ├── EmptyImageError        the file has no bytes
│   ├── UnsupportedImageError  not an image, or in an unsupported format
│   ├── BrokenImageError       an image of a supported format, but damaged
│   ├── TruncatedImageError    an image of a supported format, but the file ends early
│   └── ImageTooLargeError     more bytes or pixels than allowed
├── PixelsError                raw pixels have the wrong shape, type or range
├── ModelError                 the model is at fault, not the image
│   ├── ArtifactError          a model folder that cannot be read or verified
│   ├── SourceError            a model address that gives no model folder
│   │   └── UnreachableError   the source does not respond; a cached copy may be used
│   ├── RuntimeMissingError    the requested runtime is not installed
│   ├── UnknownModelError      no model of that name is served
│   ├── NoFeaturesError        the model returns no features, from which heads classify
│   ├── NotTaughtError         the model is not a taught one
│   ├── ModelNotReadyError     the model is still loading, or failed to load
│   └── InferenceError         the forward pass failed or returned invalid numbers
├── QueueFullError             the queue is full, or the wait would exceed the deadline
├── DeadlineError              the deadline passed before the result was ready
├── StuckError                 decoders do not return; the process should be replaced
└── ClosedError                the service is shutting down and accepts no new work

Messages are shown to clients and operators. They never contain a path, a memory address or the
text of another library's exception. Exceptions to this rule: ArtifactError names the model folder
and is shown to the operator only; SourceError names the address without its query and credentials.
"""


class PrismError(Exception):
    """Base class of all errors in this module."""


class ImageError(PrismError):
    """The image cannot be classified."""


class EmptyImageError(ImageError):
    """The file has no bytes."""


class UnsupportedImageError(ImageError):
    """Not an image, or in an unsupported format."""


class BrokenImageError(ImageError):
    """An image of a supported format, but damaged."""


class TruncatedImageError(ImageError):
    """An image of a supported format, but the file ends early."""


class ImageTooLargeError(ImageError):
    """More bytes or pixels than allowed."""


class PixelsError(PrismError):
    """Raw pixels have the wrong shape, type or range."""


class ModelError(PrismError):
    """The model is at fault, not the image."""


class ArtifactError(ModelError):
    """A model folder that cannot be read or verified."""


class SourceError(ModelError):
    """A model address that gives no model folder."""


class UnreachableError(SourceError):
    """The source does not respond; a cached copy may be used."""


class RuntimeMissingError(ModelError):
    """The requested runtime is not installed."""


class UnknownModelError(ModelError):
    """No model of that name is served."""


class NoFeaturesError(ModelError):
    """The model returns no features, from which the heads of taught models classify."""


class NotTaughtError(ModelError):
    """The model is not a taught one: it has no head on a backbone."""


class ModelNotReadyError(ModelError):
    """The model is still loading, or failed to load."""


class InferenceError(ModelError):
    """The forward pass failed or returned invalid numbers."""


class QueueFullError(PrismError):
    """The queue is full, or the wait would exceed the deadline.

    `retry_after` is the estimated wait in seconds.
    """

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineError(PrismError):
    """The deadline passed before the result was ready."""


class StuckError(PrismError):
    """Decoders do not return: the process should be replaced."""


class ClosedError(PrismError):
    """The service is shutting down and accepts no new work."""

    def __init__(
        self, message: str = "The service is shutting down. Send the request again."
    ) -> None:
        super().__init__(message)
