"""The taught models that are served: kept the same as the registry while the service runs.

A new active version is loaded beside the one that answers, and replaces it once it is loaded.
Requests in flight keep the version that they have. A version that cannot be loaded replaces none.
"""

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Final
from weakref import ref

from backend.inference.errors import ModelNotReadyError
from backend.inference.head_classifier import AnyClassifier
from backend.registry.errors import InvalidModelError, StoreUnavailableError
from backend.registry.index import Index, ModelRecord, ShadowRecord, VersionRecord
from backend.registry.registry import Registry
from backend.registry.storage import NO_INDEX, ORPHAN_SECONDS
from backend.served_model import ServedModel
from backend.sources.address import Address
from backend.sources.polling import Wakeup

log = logging.getLogger("prism.catalog")

LATEST: Final = "latest"

_RETRY_SECONDS: Final = 5.0  # until a version or a store that failed is tried again
_MAX_RETRY_SECONDS: Final = 300.0  # the time doubles with each failure
_CLOSE_SECONDS: Final = 1.0  # between checks whether requests still use a replaced version
_MAX_LISTED: Final = 10  # versions in an error message

# Return a model that is not loaded yet, for its name and the version that responses contain.
Create = Callable[[str, str], ServedModel]


class TaughtModels:
    """The taught models of a registry.

    `reserved` are names that belong to the operator. Used on one event loop; the store is polled in
    threads.
    """

    def __init__(self, registry: Registry, create: Create, reserved: Collection[str]) -> None:
        self.registry: Final = registry
        self.wakeup: Final = Wakeup()
        self._create = create
        self._reserved = reserved
        self._index: Index | None = None  # None until the store is read
        self._applied = ""  # revision of the index whose active versions are served
        self._active: dict[str, tuple[VersionRecord, ServedModel]] = {}
        self._others: OrderedDict[str, tuple[VersionRecord, ServedModel]] = OrderedDict()  # by ID
        self._shadows: dict[str, tuple[ShadowRecord, VersionRecord]] = {}  # those of the index
        self._lock = asyncio.Lock()
        self._retry_at: float | None = None
        self._retry_seconds = _RETRY_SECONDS
        self._tasks: set[asyncio.Task[None]] = set()

    def models(self) -> list[ServedModel]:
        """Return the active version of each model. Also called in other threads."""
        return [model for _, model in list(self._active.values())]

    def in_memory(self) -> list[ServedModel]:
        """Return the active version of each model, and others that were asked for."""
        return [model for _, model in (*self._active.values(), *self._others.values())]

    def find(self, name: str, version: str = "") -> ServedModel | None:
        """Return a model in a version: a number, `latest`, or "" for the active one; else None.

        A version that is not active is loaded when it is first asked for. Raise ModelNotReadyError
        while the model is found or verified.
        """
        if name in self._reserved:
            return None
        if self._index is None:
            raise ModelNotReadyError("The taught models are still loading.")
        model = self._index.models.get(name, ModelRecord())
        active = self._active.get(name)
        if not version:
            return active[1] if active else None
        record = _find(model, version)
        if record is None or (active and active[0].id == record.id):
            return active[1] if record and active else None
        return self._get_other(name, record)

    def find_shadow(self, name: str) -> tuple[ShadowRecord, ServedModel] | None:
        """Return the shadow of a model, and its version, which may still be loading; else None."""
        if name not in self._shadows:
            return None
        shadow, record = self._shadows[name]
        _, model = self._others.get(record.id, (record, None))
        return (shadow, model) if model and model.state != "failed" else None

    def latest_version(self, name: str) -> str | None:
        """Return the newest version of a model, which need not be active; None if there is none."""
        model = self._index.models.get(name) if self._index else None
        latest = model.latest if model and name not in self._reserved else None
        return str(latest.version) if latest else None

    def created(self, name: str, version: str) -> datetime | None:
        """Return when a version of a model was added; None if there is no such version."""
        model = self._index.models.get(name) if self._index else None
        record = _find(model, version) if model and name not in self._reserved else None
        return record.created if record else None

    def describe_versions(self, name: str) -> str:
        """Return for an error message how to name a version of a model; "" if it has none."""
        model = self._index.models.get(name) if self._index else None
        if name in self._reserved or model is None or not model.versions:
            return ""
        names = ", ".join(f"{name}@{each.version}" for each in model.versions[-_MAX_LISTED:])
        return f" Its versions are {names}."

    async def read(self) -> None:
        """Find the models, so that requests for them wait; raise StoreUnavailableError."""
        self._index = await asyncio.to_thread(self.registry.read)
        for name, model in self._index.models.items():
            record = model.find(model.active)
            if record and name not in self._reserved:
                self._register(name, record)

    async def run(self) -> None:
        """Serve what the registry contains, and apply its changes. This does not return.

        A wakeup also tries failed versions at once.
        """
        is_first = True
        cleaned_at = -math.inf
        while True:
            seconds = self.registry.poll_seconds
            try:
                await self.refresh(load=not is_first)
                is_first = False
                if time.monotonic() >= cleaned_at + ORPHAN_SECONDS:
                    cleaned_at = time.monotonic()
                    await asyncio.to_thread(self.registry.remove_orphans)
            except StoreUnavailableError as error:
                log.warning("%s Taught models stay as they are.", error)
                seconds = _RETRY_SECONDS
            except Exception:
                log.exception("the taught models could not be updated")
                seconds = _RETRY_SECONDS
            if await self.wakeup.sleep(seconds) and self._retry_at is not None:
                self._retry_at = 0.0

    async def refresh(self, *, load: bool = True) -> None:
        """Apply the changes of the registry since the last call; raise StoreUnavailableError.

        New versions are loaded now, or without `load` by their first request.
        """
        async with self._lock:
            if self._retry_at is not None and time.monotonic() >= self._retry_at:
                self._applied = ""
            polled = await asyncio.to_thread(self.registry.poll, self._applied)
            if polled is None:
                return
            if polled[1] == NO_INDEX and self._active:  # a store with models always has an index
                raise StoreUnavailableError("The index of the model store is missing.")
            self._index, revision = index, _ = polled
            self._shadows = {
                name: (model.shadow, record)
                for name, model in index.models.items()
                if model.shadow and (record := model.shadow_record) and name not in self._reserved
            }
            for name in list(self._active):
                if index.models.get(name, ModelRecord()).active is None:
                    self._retire(self._active.pop(name)[1])
                    log.info("%s is no longer served", name)
            has_failed = False
            for name, model in index.models.items():
                record = model.find(model.active)
                if record and name not in self._reserved:
                    has_failed |= not await self._activate(name, record, load=load)
            for name, (_, record) in self._shadows.items():
                has_failed |= not await self._load_shadow(name, record, load=load)
            self._schedule_retry(has_failed=has_failed)
            ids = {record.id for record in index.records()}
            for id in [id for id in self._others if id not in ids]:  # noqa: A001
                self._retire(self._others.pop(id)[1])
            self._applied = revision

    async def check(self, name: str, folder: Path) -> None:
        """Load the files of a version once, as every worker will; raise InvalidModelError."""

        async def fetch(_: Address) -> Path:
            return folder

        model = self._create(name, "0")
        await model.start(fetch, asyncio.Lock(), load=True)
        try:
            if model.classifier is None:
                raise InvalidModelError(f"The model cannot be loaded: {model.error}.")
        finally:
            await model.close()

    async def close(self) -> None:
        """Finish accepted images and stop the threads of all versions."""
        await asyncio.sleep(0)  # a task that has not started would not close its model
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _, model in (*self._active.values(), *self._others.values()):
            await model.close()

    def _schedule_retry(self, *, has_failed: bool) -> None:
        self._retry_at = time.monotonic() + self._retry_seconds if has_failed else None
        doubled = min(2 * self._retry_seconds, _MAX_RETRY_SECONDS)
        self._retry_seconds = doubled if has_failed else _RETRY_SECONDS

    def _register(self, name: str, record: VersionRecord) -> ServedModel:
        """Serve a model that is not started yet: requests for it wait."""
        model = self._create(name, str(record.version))
        self._active[name] = record, model
        return model

    async def _activate(self, name: str, record: VersionRecord, *, load: bool) -> bool:
        """Serve a version under the name of its model; return whether it can be loaded."""
        current, model = self._active.get(name, (record, None))
        if model is None or (model.state == "failed" and current.id != record.id):
            current, model = record, self._register(name, record)
        if current.id == record.id:
            if model.state == "failed":
                model = self._register(name, record)
            elif model.state == "ready":
                return True
            await self._start(model, record, load=load)
        else:
            replaced = model
            _, model = self._others.get(record.id, (record, None))
            if model is None or model.state != "ready":
                model = self._create(name, str(record.version))
                await self._start(model, record, load=load)
            elif load:
                await model.finish_loading()
            if model.state == "ready":
                self._others.pop(record.id, None)
                self._active[name] = record, model
                self._retire(replaced)
        if model.state != "ready":
            log.error("%s: version %d is not served: %s", name, record.version, model.error)
            return False
        log.info("%s: version %d is active", name, record.version)
        return True

    async def _load_shadow(self, name: str, record: VersionRecord, *, load: bool) -> bool:
        """Serve the shadow of a model; return whether it can be loaded."""
        _, model = self._others.get(record.id, (record, None))
        if model is None or model.state == "failed":
            model = self._create(name, str(record.version))
            self._others[record.id] = record, model
            await self._start(model, record, load=load)
        elif load:
            await model.finish_loading()
        if model.state == "failed":
            log.error("%s: the shadow %d is not used: %s", name, record.version, model.error)
            return False
        return True

    def _get_other(self, name: str, record: VersionRecord) -> ServedModel:
        """Return a version that is not active; start to load it if it is not loaded."""
        entry = self._others.pop(record.id, None)
        if entry is None or entry[1].state == "failed":
            entry = record, self._create(name, str(record.version))
            self._run(self._start(entry[1], record))
        self._others[record.id] = entry
        # The registry bounds the bytes of shadows, which are not dropped.
        shadows = {record.id for _, record in self._shadows.values()}
        others = [record for record, _ in self._others.values() if record.id not in shadows]
        size = sum(each.bytes for each in others)
        for oldest in others[:-1]:  # not asked for longest
            if size <= self.registry.max_active_bytes // 4:
                break
            self._retire(self._others.pop(oldest.id)[1])
            size -= oldest.bytes
        return entry[1]

    async def _start(self, model: ServedModel, record: VersionRecord, *, load: bool = True) -> None:
        """Fetch and verify a version, and load it; a failure is only stored in the model."""

        async def fetch(_: Address) -> Path:
            return await asyncio.to_thread(self.registry.folder, record.id)

        await model.start(fetch, asyncio.Lock(), load=load)

    def _retire(self, model: ServedModel) -> None:
        self._run(close_unused(ref(model), model.classifier))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def close_unused(
    reference: "ref[ServedModel]",
    classifier: AnyClassifier | None,
    is_used: Callable[[AnyClassifier], bool] = lambda _: False,
) -> None:
    """Close a model's classifier once nothing refers to the model: no request in flight uses it.

    Wait until `is_used` returns false, too.
    """
    try:
        while True:
            if (model := reference()) is not None:
                classifier = model.classifier
            elif classifier is None or not is_used(classifier):
                break
            del model
            await asyncio.sleep(_CLOSE_SECONDS)
    finally:  # also when the service shuts down
        if classifier is not None:
            await asyncio.to_thread(classifier.close)


def _find(model: ModelRecord, version: str) -> VersionRecord | None:
    if version == LATEST:
        return model.latest
    is_number = version.isascii() and version.isdecimal() and len(version) < 10
    return model.find(int(version)) if is_number else None
