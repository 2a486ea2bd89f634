"""A sleep between two polls that a reload ends early."""

import asyncio
from contextlib import suppress


class Wakeup:
    """Used by one task that sleeps. `set` is called on the same event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """End the current sleep, or the next one if there is none."""
        self._event.set()

    async def sleep(self, seconds: float | None) -> bool:
        """Sleep (None: until `set` is called); return whether `set` ended it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        was_set = self._event.is_set()
        self._event.clear()
        return was_set
