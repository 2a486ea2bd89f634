"""Errors of teaching; each message is for the user and says what to do.

TeachError
└── TeachCancelled   `is_cancelled` returned true
"""


class TeachError(Exception):
    """The examples cannot be used."""


class TeachCancelled(TeachError):  # noqa: N818 (the name of the event)
    """The user stopped the training."""
