"""Model folders that are added to PRISM_MODELS_DIR or replaced while the service runs."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from backend.inference.errors import ModelError
from backend.inference.models import artifact

log = logging.getLogger("prism.catalog")

_POLL_SECONDS: Final = 0.5
_MAX_RETRY_SECONDS: Final = 60.0  # a folder that is still being copied cannot be loaded

_Stamp = tuple[int, int, int]  # of a manifest: it is written last, and changes with every file


class ModelsFolder:
    """Compares the manifests of model folders with those that were last loaded.

    `folders` returns the folders to serve by name. `serve(name, folder)` loads a new or changed
    one, or raises ModelError; it is called again later if it fails.
    """

    def __init__(
        self,
        folders: Callable[[], dict[str, Path]],
        serve: Callable[[str, Path], Awaitable[None]],
    ) -> None:
        self._folders = folders
        self._serve = serve
        self._loaded = self._scan()
        self._failures: dict[str, tuple[_Stamp, float, float]] = {}  # stamp, delay, next attempt

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                await self.poll()
            except Exception:
                log.exception("PRISM_MODELS_DIR could not be read")

    async def poll(self) -> None:
        """Serve the folders that are new or changed, one after the other."""
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

    def _scan(self) -> dict[str, tuple[Path, _Stamp]]:
        stamps = {}
        for name, folder in self._folders().items():
            try:
                stat = (folder / artifact.MANIFEST).stat()
            except OSError:  # removed, or still being copied
                continue
            stamps[name] = folder, (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        return stamps
