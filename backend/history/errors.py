"""What can go wrong with the history.

PrismError
├── HistoryOffError           the operator keeps none
├── HistoryUnavailableError   the database cannot be reached or written, or is still being opened
├── UnknownAnswerError        no answer of that id is kept
├── NoImageError            the answer is kept, its picture is not
└── UnknownLabelError         a correction that is no label of the model
"""

from backend.inference.errors import PrismError


class HistoryOffError(PrismError):
    """The operator keeps none."""

    def __init__(self) -> None:
        super().__init__("There is no history: PRISM_HISTORY=false switches it off.")


class HistoryUnavailableError(PrismError):
    """The database cannot be reached or written, or is still being opened."""

    def __init__(self) -> None:
        super().__init__("The history cannot be reached now. Try again later.")


class UnknownAnswerError(PrismError):
    """No answer of that id is kept."""

    def __init__(self) -> None:
        super().__init__("No answer of that id is kept. It may be too old, or deleted.")


class NoImageError(PrismError):
    """The answer is kept, its picture is not."""

    def __init__(self) -> None:
        super().__init__(
            "The picture of this answer is not kept. PRISM_HISTORY_IMAGES=true keeps those to come."
        )


class UnknownLabelError(PrismError):
    """A correction that is no label of the model."""
