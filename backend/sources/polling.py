"""Polling of models elsewhere: when an alias moves, the new version replaces the model.

Other addresses are read again only on request: each costs a process, and a download of a manifest.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backend.inference.errors import ModelError, UnreachableError
from backend.sources.address import Address
from backend.sources.fetch import FetchedFolder
from backend.sources.resolver import ModelResolver

log = logging.getLogger("prism.sources")

_MAX_DELAY: Final = 3600.0  # s, between attempts to fetch a version that fails


class Wakeup:
    """A sleep between two polls that a reload ends early.

    One task sleeps. `set` is called on the same event loop.
    """

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


@dataclass
class _Failure:
    """A version that could not replace the model, and when to try it again."""

    version: str
    delay: float
    next_attempt: float


class SourcePoller:
    """Replaces the models whose alias refers to another version than the served one.

    Models at a fixed version or with a pin never change. A version that cannot be fetched,
    verified or loaded never replaces the model; it is tried again after increasing delays. A model
    that could not be fetched at startup is fetched once it is available.
    """

    def __init__(
        self,
        addresses: Mapping[str, Address],
        resolver: ModelResolver,
        replace: Callable[[str, Path], Awaitable[None]],
        seconds: float,
    ) -> None:
        """`replace(name, folder)` loads and swaps the model, or raises ModelError.

        `seconds` is the time between polls; 0: models are only read again after a wakeup.
        """
        self.addresses: Final = {n: a for n, a in addresses.items() if has_moving_version(a)}
        self.wakeup: Final = Wakeup()
        self._others: Final = {n: a for n, a in addresses.items() if _may_change(a)}
        self._resolver = resolver
        self._replace = replace
        self._seconds = seconds
        self._served: Final = dict[str, FetchedFolder]()
        self._failures: Final = dict[str, _Failure]()
        self._silent: Final = set[str]()  # models whose registry gives no version

    async def run(self) -> None:
        """Poll until cancelled. The models must have been fetched once.

        A wakeup also reads addresses that are not polled, and tries failed versions at once.
        """
        while True:
            if await self.wakeup.sleep(self._seconds or None):
                self._failures.clear()
                await self.read_others()
            await self.poll()

    async def poll(self) -> None:
        """Compare the version of every model with its alias, one after the other."""
        for name, address in self.addresses.items():
            try:
                version = await self._resolver.current_version(address)
            except ModelError as error:
                if name not in self._silent:
                    log.warning("%s: cannot check for a new version: %s", name, error)
                self._silent.add(name)
                continue
            except Exception:
                log.exception("%s: cannot check for a new version", name)
                continue
            self._silent.discard(name)
            try:
                await self._update(name, address, version)
            except ModelError as error:
                self._postpone(name, version, error)
            except Exception:
                log.exception("%s: version %s could not be loaded", name, version)
                self._postpone(name, version, None)

    async def read_others(self) -> None:
        """Read the models that may change and are not polled again, one after the other."""
        for name, address in self._others.items():
            try:
                await self._update(name, address, "")
            except ModelError as error:
                log.error("%s is not replaced: %s", name, error)
            except Exception:
                log.exception("%s could not be read again", name)

    async def _update(self, name: str, address: Address, version: str) -> None:
        if name not in self._served and (started := self._resolver.fetched(address)):
            self._served[name] = started
        served = self._served.get(name)
        failure = self._failures.get(name)
        if version and served and served.version == version:
            self._failures.pop(name, None)
            return
        if failure and failure.version == version and time.monotonic() < failure.next_attempt:
            return
        folder = await self._resolver.resolve(address)
        fetched = self._resolver.fetched(address)
        if fetched is None or fetched.note:
            raise UnreachableError(fetched.note if fetched else "it was not fetched")
        if served is None or folder != served.folder:
            await self._replace(name, folder)
        elif not version:
            return
        self._served[name] = fetched
        self._failures.pop(name, None)
        log.info("%s: now version %s of %s", name, fetched.version, address.redacted)
        if served and served.folder not in {other.folder for other in self._served.values()}:
            self._resolver.release(served.folder)
            await asyncio.to_thread(self._resolver.trim)

    def _postpone(self, name: str, version: str, error: ModelError | None) -> None:
        before = self._failures.get(name)
        is_repeated = before is not None and before.version == version
        delay = min(before.delay * 2, _MAX_DELAY) if before and is_repeated else self._seconds
        self._failures[name] = _Failure(version, delay, time.monotonic() + delay)
        if error and not is_repeated:
            log.error("%s: version %s does not replace the model: %s", name, version, error)


def has_moving_version(address: Address) -> bool:
    """Return whether the address names an alias in a registry, without a pin."""
    model = address.registered
    return model is not None and model.version is None and address.pin is None


def _may_change(address: Address) -> bool:
    """Return whether the files of an address may change, although it is not polled."""
    return address.registered is None and address.folder is None and address.pin is None
