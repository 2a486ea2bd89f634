"""What can go wrong while measuring; each text is one line for the person who asked.

EvaluationError
├── SourceError         the data is not there, or not what it should be
│   └── UnsafeZipError  a zip that lies about itself, or is larger than allowed
├── LabelError          the data has labels that the model does not know
├── PredictorError      the model cannot be had, or answers no more
└── ReportError         a report that cannot be written or read
"""


class EvaluationError(Exception):
    """Root of the tree."""


class SourceError(EvaluationError):
    """The data is not there, or not what it should be."""


class UnsafeZipError(SourceError):
    """A zip that lies about itself, or is larger than allowed."""


class LabelError(EvaluationError):
    """The data has labels that the model does not know."""


class PredictorError(EvaluationError):
    """The model cannot be had, or answers no more."""


class ReportError(EvaluationError):
    """A report that cannot be written or read."""
