"""Errors of the history.

PrismError
├── HistoryOffError              the history is disabled
├── HistoryUnavailableError      the database is not reachable, not writable, or not open yet
├── UnknownClassificationError   no classification with this id
├── NoImageError                 the classification has no thumbnail
└── UnknownLabelError            the correction is not a label of the model
"""

from backend.inference.errors import PrismError


class HistoryOffError(PrismError):
    """The history is disabled."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(f"The history is disabled (PRISM_HISTORY=false).{reason}")


class HistoryUnavailableError(PrismError):
    """The database is not reachable, not writable, or not open yet."""

    def __init__(self) -> None:
        super().__init__("The history is temporarily unavailable. Try again later.")


class UnknownClassificationError(PrismError):
    """No classification with this id is stored."""

    def __init__(self) -> None:
        super().__init__("No classification has this id. It may have expired or been deleted.")


class NoImageError(PrismError):
    """The classification has no thumbnail."""

    def __init__(self) -> None:
        super().__init__(
            "This classification has no thumbnail. PRISM_HISTORY_IMAGES=true stores the thumbnails "
            "of later ones."
        )


class UnknownLabelError(PrismError):
    """The correction is not a label of the model, or its model is not served."""
