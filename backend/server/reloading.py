"""SIGHUP: the models are read again. It never ends a process, also while that starts or stops.

`backend.__main__` blocks the signal before slow imports. It stays pending until a process handles
it, and is blocked again when the process stops.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_RELOAD: Final = {signal.SIGHUP}


@contextmanager
def reload_blocked() -> Iterator[None]:
    """Block SIGHUP, also in processes that are started in the block."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _RELOAD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@contextmanager
def on_reload(handler: Callable[[], None]) -> Iterator[None]:
    """Call `handler` in the main thread for each SIGHUP, also one that is pending.

    Afterwards it is ignored.
    """

    def handle(_: int, __: FrameType | None) -> None:
        handler()

    signal.signal(signal.SIGHUP, handle)
    previous = signal.pthread_sigmask(signal.SIG_UNBLOCK, _RELOAD)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
