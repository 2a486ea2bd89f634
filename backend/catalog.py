"""Which models are served, by name: found at boot, loaded in the background, closed at the end."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal

from backend.inference.classifier import Classifier
from backend.inference.errors import (
    ArtifactError,
    ModelError,
    ModelNotReadyError,
    UnknownModelError,
)
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.sources.address import Address, parse, without_secrets

log = logging.getLogger("prism.catalog")

PREFERRED: Final = "mnist-cnn"

State = Literal["loading", "ready", "failed"]


@dataclass(slots=True)
class Entry:
    """One served model; `classifier` is there once `state` is ready, `error` once it failed."""

    name: str
    address: Address
    state: State = "loading"
    classifier: Classifier | None = None
    error: str | None = None
    folder: Path | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class Catalog:
    """The served models.

    `obtain` gives a local folder of what lies at an address, `build` makes a classifier of it. A
    request waits at most `patience` seconds for a model that is still loading.
    """

    def __init__(
        self,
        addresses: Mapping[str, Address],
        default: str,
        obtain: Callable[[Address], Awaitable[Path]],
        build: Callable[[Artifact], Classifier],
        patience: float = 5.0,
    ) -> None:
        self.default: Final = default
        self._obtain = obtain
        self._build = build
        self._patience = patience
        self._entries: Final = {name: Entry(name, address) for name, address in addresses.items()}

    async def load(self) -> None:
        """Load and warm every model, the default first; one that fails leaves the others be.

        They are fetched side by side and loaded one after the other, as each arrives.
        """
        turn = asyncio.Lock()
        default_first = sorted(self._entries.values(), key=lambda entry: entry.name != self.default)
        async with asyncio.TaskGroup() as group:
            for entry in default_first:
                group.create_task(self._settle(entry, turn))

    async def get(self, name: str | None = None, within: float | None = None) -> Classifier:
        """Return the classifier `name` (None: the default one), waiting a while if it loads.

        It waits no longer than `within` seconds.

        Raises UnknownModelError, or ModelNotReadyError where it failed or takes too long to load.
        """
        entry = self.entry(name or self.default)
        if entry.classifier is not None:
            return entry.classifier
        with suppress(TimeoutError):
            seconds = self._patience if within is None else min(within, self._patience)
            await asyncio.wait_for(entry.settled.wait(), seconds)
        return self._ready(entry)

    async def tune(self, plans: Path | None) -> None:
        """Choose each model's plan; with a folder for `plans`, by measuring in idle moments."""
        for entry, classifier in self._loaded():
            await self._try(entry, classifier.spread)
        for entry, classifier in self._loaded():
            if plans is not None:
                await self._try(entry, partial(classifier.survey, plans, self._activity))

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

    def _loaded(self) -> list[tuple[Entry, Classifier]]:
        return [(one, one.classifier) for one in self._entries.values() if one.classifier]

    def _activity(self) -> int | None:
        """How many pictures came so far, None while some are inside, whichever their model."""
        each = [classifier.activity for _, classifier in self._loaded()]
        return None if None in each else sum(count or 0 for count in each)

    async def _try(self, entry: Entry, step: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(step)
        except Exception:
            log.exception("%s serves on, but its plan could not be chosen", entry.name)

    async def _settle(self, entry: Entry, turn: asyncio.Lock) -> None:
        try:
            entry.folder = await self._obtain(entry.address)
            async with turn:
                started = time.perf_counter()
                entry.classifier = await asyncio.to_thread(self._load, entry.folder, entry.name)
        except Exception as error:
            entry.state = "failed"
            entry.error = _reason(error, entry)
            log.error("%s failed: %s", entry.name, error, exc_info=_unforeseen(error))
        else:
            entry.state = "ready"
            runtime, seconds = entry.classifier.runtime_name, time.perf_counter() - started
            log.info("%s is ready (%s, loaded in %.2f s)", entry.name, runtime, seconds)
        entry.settled.set()

    def _load(self, folder: Path, name: str) -> Classifier:
        found = artifact.read(folder)
        # The operator's name for it is the one that answers carry.
        manifest = found.manifest.model_copy(update={"name": name})
        return self._build(found.model_copy(update={"manifest": manifest}))

    def _ready(self, entry: Entry) -> Classifier:
        if entry.classifier is None:
            state = "is still loading" if entry.state == "loading" else "could not be loaded"
            raise ModelNotReadyError(f"The model {entry.name} {state}.")
        return entry.classifier


def discover(models_dir: Path, names: str = "") -> dict[str, Address]:
    """Find the models to serve: the comma-separated `names`, else every folder in `models_dir`.

    Each of `names` is the name of a folder there, or `name=address`. Raises ArtifactError where
    there is none, or where one is malformed or a local one is not there.
    """
    if wanted := [name.strip() for name in names.split(",") if name.strip()]:
        return _named(wanted, models_dir)
    if not models_dir.is_dir():
        raise ArtifactError(f"PRISM_MODELS_DIR: there is no folder {models_dir}")
    found = {path.parent.name: path.parent for path in models_dir.glob(f"*/{artifact.MANIFEST}")}
    if not found:
        raise ArtifactError(f"PRISM_MODELS_DIR: {models_dir} holds no model folder")
    return {name: Address(location=str(folder)) for name, folder in sorted(found.items())}


def choose_default(names: Mapping[str, object], wanted: str = "") -> str:
    """Return the default's name: `wanted`, else `mnist-cnn` where it is served, else the first.

    Raises ArtifactError where `wanted` is not served.
    """
    if wanted and wanted not in names:
        raise ArtifactError(f"PRISM_DEFAULT_MODEL={wanted} is not among {', '.join(names)}")
    return wanted or (PREFERRED if PREFERRED in names else min(names))


def _named(items: Iterable[str], models_dir: Path) -> dict[str, Address]:
    found: dict[str, Address] = {}
    for item in items:
        name, equals, address = item.partition("=")
        try:
            if equals and not re.fullmatch(artifact.NAME_PATTERN, name):
                raise ArtifactError(f"{without_secrets(item)}: write name=address")
            if name in found:
                raise ArtifactError(f"{name} stands there twice")
            found[name] = parse(address if equals else item, models_dir)
            if not equals and Path(item).name != item:
                raise ArtifactError(f"{found[name].shown} has no name: write name=address")
        except ArtifactError as error:
            raise ArtifactError(f"PRISM_MODELS: {error}") from error
    return found


def _unforeseen(error: Exception) -> bool:
    return not isinstance(error, ModelError)


def _reason(error: Exception, entry: Entry) -> str:
    """Why a model failed, without the paths that only the operator's log shows."""
    if _unforeseen(error):
        return "could not be loaded; the service's log says why"
    reason = str(error).replace(str(entry.folder), entry.name)
    here = entry.address.scheme == "file"
    return reason.replace(entry.address.location, entry.name) if here else reason
