"""Which models are served, by name: found at boot, loaded in the background, closed at the end."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from backend.inference import artifact
from backend.inference.artifact import Artifact
from backend.inference.classifier import Classifier
from backend.inference.errors import (
    ArtifactError,
    ModelError,
    ModelNotReadyError,
    UnknownModelError,
)

log = logging.getLogger("prism.catalog")

PREFERRED: Final = "mnist-cnn"

State = Literal["loading", "ready", "failed"]


@dataclass(slots=True)
class Entry:
    """One served model; `classifier` is there once `state` is ready, `error` once it failed."""

    name: str
    folder: Path
    state: State = "loading"
    classifier: Classifier | None = None
    error: str | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class Catalog:
    """The served models. `build` makes a classifier from a verified model folder.

    A request waits at most `patience` seconds for a model that is still loading.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        default: str,
        build: Callable[[Artifact], Classifier],
        patience: float = 5.0,
    ) -> None:
        self.default: Final = default
        self._build = build
        self._patience = patience
        self._entries: Final = {name: Entry(name, folder) for name, folder in folders.items()}

    async def load(self) -> None:
        """Load and warm every model, the default first; one that fails leaves the others be."""
        for entry in sorted(self._entries.values(), key=lambda entry: entry.name != self.default):
            started = time.perf_counter()
            try:
                entry.classifier = await asyncio.to_thread(self._load, entry.folder)
            except Exception as error:
                entry.state = "failed"
                entry.error = _reason(error, entry)
                log.error("%s failed: %s", entry.name, error, exc_info=_unforeseen(error))
            else:
                entry.state = "ready"
                runtime, seconds = entry.classifier.runtime_name, time.perf_counter() - started
                log.info("%s is ready (%s, loaded in %.2f s)", entry.name, runtime, seconds)
            entry.settled.set()

    async def get(self, name: str | None = None) -> Classifier:
        """Return the classifier `name` (None: the default one), waiting a while if it loads.

        Raises UnknownModelError, or ModelNotReadyError where it failed or takes too long to load.
        """
        entry = self.entry(name or self.default)
        with suppress(TimeoutError):
            await asyncio.wait_for(entry.settled.wait(), self._patience)
        return self._ready(entry)

    def entry(self, name: str) -> Entry:
        """Return the model `name` as it is now; raises UnknownModelError."""
        if name not in self._entries:
            served = ", ".join(self._entries)
            raise UnknownModelError(f"No such model is served. Served are: {served}.")
        return self._entries[name]

    def require_ready(self) -> None:
        """Raise ModelNotReadyError unless the default model can answer now."""
        self._ready(self._entries[self.default])

    def entries(self) -> list[Entry]:
        """Every served model, by name."""
        return [self._entries[name] for name in sorted(self._entries)]

    def close(self) -> None:
        """Finish what was accepted and stop every model's threads."""
        for entry in self._entries.values():
            if entry.classifier is not None:
                entry.classifier.close()

    def _load(self, folder: Path) -> Classifier:
        return self._build(artifact.read(folder))

    def _ready(self, entry: Entry) -> Classifier:
        if entry.classifier is None:
            state = "is still loading" if entry.state == "loading" else "could not be loaded"
            raise ModelNotReadyError(f"The model {entry.name} {state}.")
        return entry.classifier


def discover(models_dir: Path, names: str = "") -> dict[str, Path]:
    """Find the model folders in `models_dir`: those in the comma-separated `names`, else all.

    Raises ArtifactError where there is none, or none of a given name.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if wanted:
        folders = {name: models_dir / name for name in wanted}
        if lost := [name for name in wanted if not _is_model(folders[name], models_dir)]:
            raise ArtifactError(
                f"PRISM_MODELS names {lost[0]!r}, but {models_dir} holds no model folder of it"
            )
        return folders
    if not models_dir.is_dir():
        raise ArtifactError(f"PRISM_MODELS_DIR: there is no folder {models_dir}")
    found = {path.parent.name: path.parent for path in models_dir.glob(f"*/{artifact.MANIFEST}")}
    if not found:
        raise ArtifactError(f"PRISM_MODELS_DIR: {models_dir} holds no model folder")
    return dict(sorted(found.items()))


def choose_default(names: Mapping[str, Path], wanted: str = "") -> str:
    """Return the default's name: `wanted`, else `mnist-cnn` where it is served, else the first.

    Raises ArtifactError where `wanted` is not served.
    """
    if wanted and wanted not in names:
        raise ArtifactError(f"PRISM_DEFAULT_MODEL={wanted} is not among {', '.join(names)}")
    return wanted or (PREFERRED if PREFERRED in names else min(names))


def _is_model(folder: Path, models_dir: Path) -> bool:
    return folder.parent == models_dir and folder.is_dir()


def _unforeseen(error: Exception) -> bool:
    return not isinstance(error, ModelError)


def _reason(error: Exception, entry: Entry) -> str:
    """Why a model failed, without the path that only the operator's log shows."""
    if _unforeseen(error):
        return "could not be loaded; the service's log says why"
    return str(error).replace(str(entry.folder), entry.name)
