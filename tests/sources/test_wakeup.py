"""Sleeps that a reload ends early."""

import asyncio

from backend.sources.wakeup import Wakeup


def test_wakeup_ends_the_current_or_the_next_sleep_once() -> None:
    async def sleep() -> list[bool]:
        wakeup = Wakeup()
        wakeup.set()
        results = [await wakeup.sleep(60), await wakeup.sleep(0)]
        asyncio.get_running_loop().call_soon(wakeup.set)
        return [*results, await wakeup.sleep(None)]

    assert asyncio.run(sleep()) == [True, False, True]
