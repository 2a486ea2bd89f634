"""The models that addresses lead to, as the service asks for them."""

import asyncio
import hashlib
import logging
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from backend.inference.errors import SourceError, UnreachableError
from backend.inference.models import artifact
from backend.sources.address import Address
from backend.sources.cache import Cache
from backend.sources.fetch import Fetched, Order, Outcome, last_copy

log = logging.getLogger("prism.sources")

_ROOT: Final = Path(__file__).parents[2]
_AT_ONCE: Final = 4  # fetching processes


class Library:
    """Fetches into `folder`, each model within `max_bytes` and `seconds`."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = 2_000_000_000,
        seconds: float = 300,
        cache_bytes: int = 10_000_000_000,
        allow_private: bool = False,
    ) -> None:
        self._folder = folder.absolute()
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._cache_bytes = cache_bytes
        self._allow_private = allow_private
        self._in_use: set[Path] = set()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def obtain(self, address: Address) -> Path:
        """Return a verified local folder of what `address` gives, fetching it where need be.

        Raises SourceError, naming the address and the reason, where there is none in time.
        """
        if address.folder is not None:
            await asyncio.to_thread(_check_pin, address, address.folder)
            return address.folder
        order = Order(
            address=address,
            cache=self._folder,
            max_bytes=self._max_bytes,
            seconds=self._seconds,
            allow_private=self._allow_private,
        )
        async with self._turns:
            fetched = await self._run(order)
        if fetched.note:
            log.warning("%s", fetched.note)
        self._in_use.add(fetched.folder)
        return fetched.folder

    def trim(self) -> None:
        """Remove the copies used longest ago beyond the bytes allowed, but none obtained here."""
        try:
            Cache(self._folder).trim(self._cache_bytes, self._in_use)
        except OSError as error:
            log.warning("the cache of models cannot be trimmed: %s", error.strerror)

    async def _run(self, order: Order) -> Fetched:
        shown = order.address.shown
        try:
            async with asyncio.timeout(self._seconds):
                answer = await _ask(order)
        except TimeoutError:
            reason = f"{shown}: not fetched within PRISM_SOURCE_TIMEOUT={self._seconds:g} s"
            if copy := await asyncio.to_thread(last_copy, order):
                return Fetched(folder=copy, note=f"{reason}; using the copy kept here")
            raise UnreachableError(reason) from None
        try:
            outcome = Outcome.model_validate_json(answer.splitlines()[-1])
        except (ValidationError, IndexError):
            raise SourceError(f"{shown}: the process that fetched it was ended") from None
        if outcome.fetched is None:
            raise SourceError(outcome.error)
        return outcome.fetched


async def _ask(order: Order) -> bytes:
    """Run `python -m backend.sources`; the process ends when this is cancelled."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "backend.sources",
        stdin=PIPE, stdout=PIPE, cwd=_ROOT,
        start_new_session=True,  # Ctrl-C is for the service, which then ends this one
    )  # fmt: skip
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(order.model_dump_json().encode() + b"\n")
        answer = await process.stdout.read()
        await process.wait()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    finally:
        process.stdin.close()
    return answer


def _check_pin(address: Address, folder: Path) -> None:
    if address.pin is None:
        return
    try:
        digest = hashlib.sha256((folder / artifact.MANIFEST).read_bytes()).hexdigest()
    except OSError:
        raise SourceError(
            f"{address.shown}: no {artifact.MANIFEST} to compare the pin with"
        ) from None
    if digest != address.pin:
        raise SourceError(f"{address.shown}: its SHA-256 is {digest}, not the one pinned")
