"""The catalog of served models: found at startup, loaded in the background, closed at shutdown."""

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
from backend.sources.address import Address, parse_address, redact

log = logging.getLogger("prism.catalog")

AUTO: Final = "auto"  # instead of a model: the models in PRISM_AUTO_MODELS, in order
PREFERRED_DEFAULT: Final = "mnist-cnn"

_UNEXPECTED_FAILURE: Final = "could not be loaded; see the log of the service"
_RESERVED: Final = "the name is reserved for automatic choice; rename the model"

State = Literal["loading", "ready", "failed"]


@dataclass(slots=True)
class Entry:
    """A served model; `classifier` is set once `state` is ready, `error` once it has failed."""

    name: str
    address: Address
    state: State = "loading"
    classifier: Classifier | None = None
    error: str | None = None
    folder: Path | None = None
    finished_loading: asyncio.Event = field(default_factory=asyncio.Event)


class Catalog:
    """The served models.

    `fetch` returns the local folder of the model at an address, and `build` creates a classifier
    from it. A request waits at most `max_wait` seconds for a model that is still loading. `auto`
    are the models that a request for "auto" asks in order; empty: it asks the default model.
    """

    def __init__(
        self,
        addresses: Mapping[str, Address],
        default: str,
        fetch: Callable[[Address], Awaitable[Path]],
        build: Callable[[Artifact], Classifier],
        max_wait: float = 5.0,
        auto: tuple[str, ...] = (),
    ) -> None:
        self.default: Final = default
        self.auto: Final = auto
        self._fetch = fetch
        self._build = build
        self._max_wait = max_wait
        self._entries: Final = {name: Entry(name, address) for name, address in addresses.items()}
        self._has_failed = False

    @property
    def is_loading(self) -> bool:
        """Whether a model is still loading."""
        return any(entry.state == "loading" for entry in self._entries.values())

    async def load(self) -> None:
        """Load and warm up every model, the default ones first. A failure affects no other model.

        Models are fetched concurrently and loaded one at a time.
        """
        load_lock = asyncio.Lock()
        defaults = self.resolve(None)
        default_first = sorted(self._entries.values(), key=lambda e: e.name not in defaults)
        async with asyncio.TaskGroup() as group:
            for entry in default_first:
                group.create_task(self._load_entry(entry, load_lock))

    def fail(self) -> None:
        """Report that the service is not ready, after an unexpected error while it loaded.

        Models that are ready stay usable; those that still load have failed.
        """
        self._has_failed = True
        for entry in self._entries.values():
            if entry.state == "loading":
                entry.state, entry.error = "failed", _UNEXPECTED_FAILURE
                entry.finished_loading.set()

    def resolve(self, name: str | None) -> tuple[str, ...]:
        """Return the models that a request for `name` (None: the default) asks, in order.

        There is one, or several for "auto". Raises UnknownModelError.
        """
        name = name or self.default
        if name == AUTO:
            return self.auto or (self.default,)
        return (self.entry(name).name,)

    async def get(self, name: str, max_wait: float | None = None) -> Classifier:
        """Return the classifier of the model `name`.

        Wait for a model that is still loading, at most `max_wait` seconds. Raises
        UnknownModelError, and ModelNotReadyError if the model has failed or still loads.
        """
        entry = self.entry(name)
        if entry.classifier is not None:
            return entry.classifier
        with suppress(TimeoutError):
            seconds = self._max_wait if max_wait is None else min(max_wait, self._max_wait)
            await asyncio.wait_for(entry.finished_loading.wait(), seconds)
        return self._require_classifier(entry)

    async def tune(self, plans: Path | None) -> None:
        """Choose each model's plan; with a folder for `plans`, measure plans while idle."""
        for entry, classifier in self._ready_entries():
            await self._run_step(entry, classifier.use_default_plan)
        for entry, classifier in self._ready_entries():
            if plans is not None:
                await self._run_step(entry, partial(classifier.autotune, plans, self._activity))

    def entry(self, name: str) -> Entry:
        """Return the entry of the model `name`; raise UnknownModelError if there is none."""
        if name not in self._entries:
            names = ", ".join([*self._entries, *([AUTO] if self.auto else [])])
            raise UnknownModelError(f"The model is not served. Available models: {names}.")
        return self._entries[name]

    def require_ready(self) -> None:
        """Raise ModelNotReadyError unless the default model is ready; for "auto", all it asks.

        Raise it also after `fail`.
        """
        if self._has_failed:
            raise ModelNotReadyError("The service failed to start; its log contains the cause.")
        for name in self.resolve(None):
            self._require_classifier(self._entries[name])

    async def wait_for_default(self) -> None:
        """Wait until the default model, or all that "auto" asks, have loaded or failed."""
        for name in self.resolve(None):
            await self._entries[name].finished_loading.wait()

    def entries(self) -> list[Entry]:
        """Return the entries of all models, sorted by name."""
        return [self._entries[name] for name in sorted(self._entries)]

    def close(self) -> None:
        """Finish accepted images and stop the threads of all models."""
        for entry in self._entries.values():
            if entry.classifier is not None:
                entry.classifier.close()

    def _ready_entries(self) -> list[tuple[Entry, Classifier]]:
        return [(entry, entry.classifier) for entry in self._entries.values() if entry.classifier]

    def _activity(self) -> int | None:
        """Return the number of images so far, of all models; None while some are in flight."""
        counts = [classifier.activity for _, classifier in self._ready_entries()]
        return None if None in counts else sum(count or 0 for count in counts)

    async def _run_step(self, entry: Entry, step: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(step)
        except Exception:
            log.exception("could not choose a plan for %s; it keeps its current one", entry.name)

    async def _load_entry(self, entry: Entry, load_lock: asyncio.Lock) -> None:
        try:
            entry.folder = await self._fetch(entry.address)
            async with load_lock:
                started = time.perf_counter()
                entry.classifier = await asyncio.to_thread(self._load, entry.folder, entry.name)
        except Exception as error:
            entry.state = "failed"
            entry.error = _failure_message(error, entry)
            log.error("%s failed: %s", entry.name, error, exc_info=_is_unexpected(error))
        else:
            entry.state = "ready"
            runtime, seconds = entry.classifier.runtime_name, time.perf_counter() - started
            log.info("%s is ready (%s, loaded in %.2f s)", entry.name, runtime, seconds)
        entry.finished_loading.set()

    def _load(self, folder: Path, name: str) -> Classifier:
        model = artifact.read(folder)
        # Responses contain the name that the operator chose.
        manifest = model.manifest.model_copy(update={"name": name})
        return self._build(model.model_copy(update={"manifest": manifest}))

    def _require_classifier(self, entry: Entry) -> Classifier:
        if entry.classifier is None:
            state = "is still loading" if entry.state == "loading" else "could not be loaded"
            raise ModelNotReadyError(f"The model {entry.name} {state}.")
        return entry.classifier


def discover(models_dir: Path, names: str = "") -> dict[str, Address]:
    """Return the addresses of the models to serve, by name.

    `names` is a comma-separated list of folder names in `models_dir` and of `name=address` items;
    if it is empty, every model folder is served. Raises ArtifactError if there is no model, an item
    is invalid, or a local model does not exist.
    """
    if items := _split(names):
        return _parse_models(items, models_dir)
    if not models_dir.is_dir():
        raise ArtifactError(f"PRISM_MODELS_DIR: the folder {models_dir} does not exist")
    folders = {path.parent.name: path.parent for path in models_dir.glob(f"*/{artifact.MANIFEST}")}
    if not folders:
        raise ArtifactError(f"PRISM_MODELS_DIR: {models_dir} contains no model folder")
    if AUTO in folders:
        raise ArtifactError(f"PRISM_MODELS_DIR: {folders[AUTO]}: {_RESERVED}")
    return {name: Address(location=str(folder)) for name, folder in sorted(folders.items())}


def choose_auto(names: Mapping[str, object], setting: str, *, strict: bool) -> tuple[str, ...]:
    """Return the served models in the comma-separated `setting`, in order; () for fewer than two.

    Raises ArtifactError for a model that is not served if `strict`.
    """
    items = list(dict.fromkeys(_split(setting)))
    missing = [item for item in items if item not in names]
    if missing and strict:
        raise ArtifactError(
            f"PRISM_AUTO_MODELS: {missing[0]} is not one of the served models: {', '.join(names)}"
        )
    served = tuple(item for item in items if item in names)
    return served if len(served) > 1 else ()


def choose_default(
    names: Mapping[str, object], preferred: str = "", auto: tuple[str, ...] = ()
) -> str:
    """Return the default model: `preferred`, "auto" if it has models, `mnist-cnn`, or the first.

    Raises ArtifactError if `preferred` is not served.
    """
    if preferred == AUTO and not auto:
        raise ArtifactError(
            "PRISM_DEFAULT_MODEL=auto requires that at least two models of PRISM_AUTO_MODELS "
            f"are served; served models: {', '.join(names)}"
        )
    if preferred and preferred not in (*names, AUTO):
        raise ArtifactError(
            f"PRISM_DEFAULT_MODEL={preferred} is not one of the served models: {', '.join(names)}"
        )
    if preferred or auto:
        return preferred or AUTO
    return PREFERRED_DEFAULT if PREFERRED_DEFAULT in names else min(names)


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _parse_models(items: Iterable[str], models_dir: Path) -> dict[str, Address]:
    addresses: dict[str, Address] = {}
    for item in items:
        name, equals, address = item.partition("=")
        try:
            if equals and not re.fullmatch(artifact.NAME_PATTERN, name):
                raise ArtifactError(f"{redact(item)}: write name=address")
            if name in addresses:
                raise ArtifactError(f"{name} is listed twice")
            if name == AUTO:
                raise ArtifactError(f"{AUTO}: {_RESERVED}")
            addresses[name] = parse_address(address if equals else item, models_dir)
            if not equals and Path(item).name != item:
                raise ArtifactError(f"{addresses[name].redacted} has no name: write name=address")
        except ArtifactError as error:
            raise ArtifactError(f"PRISM_MODELS: {error}") from error
    return addresses


def _is_unexpected(error: Exception) -> bool:
    return not isinstance(error, ModelError)


def _failure_message(error: Exception, entry: Entry) -> str:
    """Return why a model failed, without local paths, which only the log contains."""
    if _is_unexpected(error):
        return _UNEXPECTED_FAILURE
    reason = str(error).replace(str(entry.folder), entry.name)
    is_local = entry.address.scheme == "file"
    return reason.replace(entry.address.location, entry.name) if is_local else reason
