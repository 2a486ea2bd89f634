"""Numbered versions of taught models: add, activate, shadow, delete.

A change is a compare-and-swap of the index: it is read, changed and written, and read again if
another process was faster. Files are stored before the index mentions them, and removed afterwards.
"""

import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from backend.registry.errors import ConflictError, StoreFullError, StoreUnavailableError
from backend.registry.index import Index, NewVersion, VersionRecord
from backend.registry.storage import NO_INDEX, Storage

log = logging.getLogger("prism.registry")

DEFAULT_MAX_BYTES: Final = 2_000_000_000
DEFAULT_MAX_ACTIVE_BYTES: Final = 256_000_000

MAX_INDEX_BYTES: Final = 20_000_000

_ATTEMPTS: Final = 20  # of a change while other processes change the index, too
_DELAY: Final = 0.02  # s at most before the second attempt, longer before further ones


class Registry:
    """The versions of taught models in a `storage`. The methods block."""

    def __init__(
        self,
        storage: Storage,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_active_bytes: int = DEFAULT_MAX_ACTIVE_BYTES,
    ) -> None:
        """`max_bytes` limits all versions, `max_active_bytes` the active ones: those in memory."""
        self._storage: Final = storage
        self.poll_seconds: Final = storage.poll_seconds
        self.is_remote: Final = storage.is_remote
        self.is_temporary: Final = storage.is_temporary
        self._max_bytes = max_bytes
        self.max_active_bytes: Final = max_active_bytes

    def poll(self, known: str = "") -> tuple[Index, str] | None:
        """Return the index and its revision; None if the revision is still `known`.

        Raise StoreUnavailableError.
        """
        read = self._storage.read_index(known)
        return None if read is None else (Index.parse(read[0]), read[1])

    def read(self) -> Index:
        """Return the current index; raise StoreUnavailableError."""
        read = self.poll()
        return read[0] if read else Index()

    def folder(self, id: str) -> Path:  # noqa: A002
        """Return a local folder with the stored files `id`; raise StoreUnavailableError."""
        return self._storage.folder(id)

    def store(self, files: Mapping[str, bytes]) -> str:
        """Store files that `publish` can make a version of, and return their ID.

        Raise StoreUnavailableError.
        """
        id = secrets.token_hex(8)  # noqa: A001
        self._storage.add(id, files)
        return id

    def discard(self, id: str) -> None:  # noqa: A002
        """Remove stored files that will not be published."""
        with suppress(StoreUnavailableError):  # `remove_orphans` tries again
            self._storage.remove(id)

    def publish(self, name: str, new: NewVersion, *, activate: bool = True) -> VersionRecord:
        """Make stored files the next version of a model.

        Raise StoreFullError and StoreUnavailableError.
        """

        def change(index: Index) -> Index:
            if any(each.id == new.id for each in index.records()):  # written, but not confirmed
                return index
            changed = index.add(name, new, activate=activate)
            self._require_space(changed)
            return changed

        index = self._change(change)
        return next(each for each in index.models[name].versions if each.id == new.id)

    def activate(self, name: str, version: int) -> VersionRecord:
        """Make a version the active one.

        Raise UnknownVersionError, StoreFullError and StoreUnavailableError.
        """

        def change(index: Index) -> Index:
            changed = index.activate(name, version)
            if changed != index:
                self._require_memory(changed)
            return changed

        return self._change(change).get(name, version)

    def set_shadow(self, name: str, version: int, share: float) -> None:
        """Make a version the shadow of its model, for a share of its images in (0, 1].

        Raise UnknownVersionError, ActiveVersionError, StoreFullError and StoreUnavailableError.
        """

        def change(index: Index) -> Index:
            changed = index.set_shadow(name, version, share)
            self._require_memory(changed)
            return changed

        self._change(change)

    def remove_shadow(self, name: str) -> None:
        """End the shadow of a model, if it has one; raise StoreUnavailableError."""
        self._change(lambda index: index.remove_shadow(name))

    def delete_version(self, name: str, version: int) -> None:
        """Delete a version and its files.

        Raise UnknownVersionError, ActiveVersionError and StoreUnavailableError.
        """
        record = self.read().get(name, version)

        def change(index: Index) -> Index:
            if all(each.id != record.id for each in index.records()):  # written, but not confirmed
                return index
            return index.remove_version(name, version)

        self._change(change)
        self.discard(record.id)

    def delete_model(self, name: str) -> None:
        """Delete a model, all its versions and their files; raise StoreUnavailableError."""
        removed: list[VersionRecord] = []

        def change(index: Index) -> Index:
            if name in index.models:
                removed.extend(index.models[name].versions)
            return index.remove_model(name)

        self._change(change)
        for record in removed:
            self.discard(record.id)

    def remove_orphans(self) -> None:
        """Remove files that a killed process left; log a failure.

        Keep everything if there is no index: it may have been deleted by mistake.
        """
        try:
            if polled := self.poll(NO_INDEX):
                self._storage.remove_orphans({record.id for record in polled[0].records()})
        except StoreUnavailableError as error:
            log.warning("abandoned files of the model store were not removed: %s", error)

    def _change(self, change: Callable[[Index], Index]) -> Index:
        for attempt in range(_ATTEMPTS):
            time.sleep(random.random() * _DELAY * attempt)
            with suppress(ConflictError):  # also while the index is read
                index, revision = self.poll() or (Index(), "")
                changed = change(index)
                if changed == index:
                    return index
                content = changed.model_dump_json(exclude_none=True).encode()
                if len(content) > MAX_INDEX_BYTES:
                    raise StoreFullError("The registry has too many versions. Delete some first.")
                self._storage.write_index(content, revision)
                return changed
        raise StoreUnavailableError("The model store changes too often. Send the request again.")

    def _require_space(self, index: Index) -> None:
        size = sum(record.bytes for record in index.records())
        if size > self._max_bytes:
            raise StoreFullError(
                f"The versions of all taught models would need {size:,} bytes, more than "
                f"PRISM_MODEL_STORE_MAX_BYTES={self._max_bytes:,}. Delete old versions first."
            )
        self._require_memory(index)

    def _require_memory(self, index: Index) -> None:
        size = index.active_bytes()
        if size > self.max_active_bytes:
            raise StoreFullError(
                f"The active taught models would need {size:,} bytes of memory, more than the "
                f"{self.max_active_bytes:,} that they may use here. Delete a model first."
            )
