"""Components that report a status: a new result, or the time until a retry."""

import secrets

from frontend.ui import components

HEADER_HEIGHT = "5rem"  # of the fixed page header, which hides what is behind it

_announce = components.register(
    "announce", '<div class="message" role="status" aria-live="polite"></div>'
)
_countdown = components.register("countdown", '<p role="timer" aria-live="off"></p>')


def announce(message: str, *, token: str, key: str, margin: str = HEADER_HEIGHT) -> None:
    """Mark the position of a result; a new `token` announces a new result.

    A new result is scrolled into view, below a CSS length `margin` of what precedes it, and screen
    readers read the message.
    """
    _announce(key=key, data={"message": message, "token": token, "margin": margin})


def show_countdown(seconds: float, *, key: str) -> None:
    """Count down from `seconds`, or from more after unsuccessful retries; then rerun the page.

    It stops after MAX_RETRIES (countdown.js), and resets once it has disappeared from the page.
    Screen readers skip it.
    """
    data = {"seconds": seconds, "token": secrets.token_hex(4)}
    _countdown(key=key, data=data, on_due_change=lambda: None)
