"""Model folders that are added to PRISM_MODELS_DIR, replaced or removed while the service runs."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Final

from backend.inference.errors import ModelError
from backend.inference.models import artifact
from backend.sources.polling import Wakeup

log = logging.getLogger("prism.catalog")

_POLL_SECONDS: Final = 0.5
_MAX_RETRY_SECONDS: Final = 60.0  # a folder that is still being copied cannot be loaded
_REMOVED_SECONDS: Final = 5.0  # a folder that is being replaced is absent for a moment

_Stamp = tuple[int, int, int]  # of a manifest: it is written last, and changes with every file


class ModelsFolder:
    """Compares the manifests of model folders with those that were last loaded.

    `folders` returns the folders to serve by name. `serve(name, folder)` loads a new or changed
    one, or raises ModelError; it is called again later if it fails. `remove(name)` ends the service
    of a folder that does not exist any more, or raises ModelError if its model is needed; None:
    models are never removed. If all folders disappear at once, the volume is probably not mounted,
    and all models stay. `known` are the names of the models that are served already.
    """

    def __init__(
        self,
        folders: Callable[[], dict[str, Path]],
        serve: Callable[[str, Path], Awaitable[None]],
        remove: Callable[[str], Awaitable[None]] | None = None,
        *,
        known: Collection[str] = (),
    ) -> None:
        self._folders = folders
        self._serve = serve
        self._remove = remove
        self.wakeup: Final = Wakeup()
        self._loaded = {name: each for name, each in self._scan().items() if name in known}
        self._failures: dict[str, tuple[_Stamp, float, float]] = {}  # stamp, delay, next attempt
        self._absent: dict[str, float] = {}  # when each removed folder was first missed
        self._kept: set[str] = set()  # models without a folder that are needed

    async def run(self) -> None:
        """Poll until cancelled. A wakeup also tries failed folders at once."""
        while True:
            if await self.wakeup.sleep(_POLL_SECONDS):
                self._failures.clear()
            try:
                await self.poll()
            except Exception:
                log.exception("PRISM_MODELS_DIR could not be read")

    async def poll(self) -> None:
        """Serve the folders that are new or changed, and remove models, one after the other."""
        found = await asyncio.to_thread(self._scan)
        for name, (folder, stamp) in found.items():
            _, known = self._loaded.get(name, (folder, None))
            failed, delay, next_attempt = self._failures.get(name, (None, _POLL_SECONDS, 0.0))
            if stamp == known or (stamp == failed and time.monotonic() < next_attempt):
                continue
            try:
                await self._serve(name, folder)
            except ModelError as error:
                if stamp != failed:
                    delay = _POLL_SECONDS
                    log.warning("%s is not loaded, and tried again: %s", name, error)
                delay = min(2 * delay, _MAX_RETRY_SECONDS)
                self._failures[name] = stamp, delay, time.monotonic() + delay
            else:
                self._loaded[name] = folder, stamp
                self._failures.pop(name, None)
                log.info("%s: the folder is loaded", name)
        if self._remove is not None:
            await self._remove_absent(self._remove)

    async def _remove_absent(self, remove: Callable[[str], Awaitable[None]]) -> None:
        now = time.monotonic()
        absent = await asyncio.to_thread(self._find_absent)
        if len(absent) == len(self._loaded):
            absent = []
        self._absent = {name: self._absent.get(name, now) for name in absent}
        self._kept &= self._absent.keys()
        for name in [name for name in absent if now >= self._absent[name] + _REMOVED_SECONDS]:
            try:
                await remove(name)
            except ModelError as error:
                if name not in self._kept:
                    log.warning("%s is served without its folder: %s", name, error)
                self._kept.add(name)
            else:
                del self._loaded[name]
                log.info("%s: its folder was removed; it is no longer served", name)

    def _find_absent(self) -> list[str]:
        return [name for name, (folder, _) in self._loaded.items() if not folder.exists()]

    def _scan(self) -> dict[str, tuple[Path, _Stamp]]:
        stamps = {}
        for name, folder in self._folders().items():
            try:
                stat = (folder / artifact.MANIFEST).stat()
            except OSError:  # removed, or still being copied
                continue
            stamps[name] = folder, (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        return stamps
