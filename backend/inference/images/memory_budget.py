"""A budget that threads share: what is taken has to fit, else one waits until others give back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """`total` units; a single request for more is cut to all of them."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def take(self, units: int) -> Iterator[None]:
        """Hold `units` while the block runs, waiting until they are free."""
        units = min(units, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= units)
            self._free -= units
        try:
            yield
        finally:
            with self._changed:
                self._free += units
                self._changed.notify_all()
