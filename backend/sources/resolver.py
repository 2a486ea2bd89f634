"""Resolution of model addresses to local folders, with a subprocess for downloads."""

import asyncio
import logging
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from backend.inference.errors import SourceError, UnreachableError
from backend.inference.models import artifact
from backend.sources.address import Address
from backend.sources.cache import Cache
from backend.sources.fetch import (
    FetchedFolder,
    FetchRequest,
    FetchResult,
    current_version,
    last_copy,
)

log = logging.getLogger("prism.sources")

_ROOT: Final = Path(__file__).parents[2]
_MAX_PROCESSES: Final = 4


class ModelResolver:
    """Fetches models into `folder`, each within `max_bytes` and `seconds`."""

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
        self._cache_bytes = cache_bytes
        self._create_request = partial(
            FetchRequest, max_bytes=max_bytes, seconds=seconds, allow_private=allow_private
        )
        self._allow_private = allow_private
        self._fetched: dict[str, FetchedFolder] = {}
        self._in_use: set[Path] = set()
        self._process_slots = asyncio.Semaphore(_MAX_PROCESSES)

    async def resolve(self, address: Address) -> Path:
        """Return a verified local folder of the model at `address`; download it if necessary.

        Raise SourceError with the redacted address and the reason if that fails or takes too long.
        """
        if address.folder is not None:
            if address.pin is not None:
                await asyncio.to_thread(_check_pin, address.redacted, address.pin, address.folder)
            return address.folder
        request = self._create_request(address=address, cache=self._folder)
        async with self._process_slots:
            fetched = await self._run(request)
        if fetched.note:
            log.warning("%s", fetched.note)
        self._in_use.add(fetched.folder)
        self._fetched[address.key] = fetched
        return fetched.folder

    def fetched(self, address: Address) -> FetchedFolder | None:
        """Return the folder that `resolve` downloaded last for the address, with its version."""
        return self._fetched.get(address.key)

    async def current_version(self, address: Address) -> str:
        """Return the version that an address in a registry refers to now; download nothing.

        Raise SourceError with the redacted address and the reason if that fails.
        """
        return await asyncio.to_thread(current_version, address, allow_private=self._allow_private)

    def release(self, folder: Path) -> None:
        """Permit `trim` to remove a downloaded folder, which is no longer served."""
        self._in_use.discard(folder)

    def trim(self) -> None:
        """Remove the least recently used copies beyond the limit, except those in use."""
        try:
            Cache(self._folder).trim(self._cache_bytes, self._in_use)
        except OSError as error:
            log.warning("cannot trim the model cache: %s", error.strerror)

    async def _run(self, request: FetchRequest) -> FetchedFolder:
        shown = request.address.redacted
        try:
            async with asyncio.timeout(request.seconds):
                output = await _run_process(request)
        except TimeoutError:
            reason = f"{shown}: not downloaded within PRISM_SOURCE_TIMEOUT={request.seconds:g} s"
            if copy := await asyncio.to_thread(last_copy, request, reason):
                return copy
            raise UnreachableError(reason) from None
        try:
            result = FetchResult.model_validate_json(output.splitlines()[-1])
        except (ValidationError, IndexError):
            raise SourceError(f"{shown}: the download process was killed") from None
        if result.fetched is None:
            raise SourceError(result.error)
        return result.fetched


async def _run_process(request: FetchRequest) -> bytes:
    """Run `python -m backend.sources` and return its output; kill it when canceled."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "backend.sources",
        stdin=PIPE, stdout=PIPE, cwd=_ROOT,
        start_new_session=True,  # Ctrl-C must only reach the service
    )  # fmt: skip
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(request.model_dump_json().encode() + b"\n")
        output = await process.stdout.read()
        await process.wait()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    finally:
        process.stdin.close()
    return output


def _check_pin(shown: str, pin: str, folder: Path) -> None:
    try:
        digest = artifact.sha256(folder / artifact.MANIFEST)
    except OSError:
        reason = f"no {artifact.MANIFEST} to check the pin against"
        raise SourceError(f"{shown}: {reason}") from None
    if digest != pin:
        reason = f"its SHA-256 is {digest}, which does not match the pin"
        raise SourceError(f"{shown}: {reason}")
