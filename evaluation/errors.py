"""Errors of an evaluation; each message is one line for the user.

EvaluationError
├── SourceError         the data is missing or invalid
│   └── UnsafeZipError  the zip is inconsistent or exceeds a limit
├── LabelError          the data has labels that the model does not have
├── PredictorError      the model cannot be loaded or stopped responding
└── ReportError         a report cannot be written or read
"""


class EvaluationError(Exception):
    """Base class."""


class SourceError(EvaluationError):
    """The data is missing or invalid."""


class UnsafeZipError(SourceError):
    """The zip is inconsistent or exceeds a limit."""


class LabelError(EvaluationError):
    """The data has labels that the model does not have."""


class PredictorError(EvaluationError):
    """The model cannot be loaded or stopped responding."""


class ReportError(EvaluationError):
    """A report cannot be written or read."""
