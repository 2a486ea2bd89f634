"""A registry in a bucket of Google Cloud Storage, which several instances share.

The objects have the names of the files in `FolderStorage`. The index is replaced only if its
generation is the expected one. Local copies of versions are kept in a folder.
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import google.cloud.storage as storage
from google.api_core import exceptions as api

from backend.inference.errors import ArtifactError, SourceError
from backend.inference.models import artifact
from backend.registry.errors import ConflictError, StoreUnavailableError
from backend.registry.storage import INDEX, NO_INDEX, ORPHAN_SECONDS, VERSIONS
from backend.sources.gcs import TIMEOUT, gcs_errors, open_bucket

_ATTEMPTS: Final = 4  # to write an object: a bucket permits one change of an object a second
_DELAY: Final = 0.4  # s before the second attempt, doubled for each further one


class BucketStorage:
    """A registry below `gs://bucket/prefix`; `copies` is a folder for local copies.

    The bucket is opened when it is first needed.
    """

    poll_seconds = 0.5
    is_remote = True
    is_temporary = False

    def __init__(self, url: str, copies: Path) -> None:
        self._url = url.rstrip("/")
        self._copies = copies.absolute()
        self._opened: tuple[storage.Bucket, str] | None = None
        self._opening = threading.Lock()

    def read_index(self, known: str = "") -> tuple[bytes, str] | None:
        """See `Storage.read_index`; the revision is the object's generation."""
        with _store_errors():
            blob = self._blob(INDEX)
            for _ in range(_ATTEMPTS):
                try:
                    blob.reload(timeout=TIMEOUT, retry=None)
                except api.NotFound:
                    return None if known == NO_INDEX else (b"", NO_INDEX)
                revision = str(blob.generation)
                if revision == known:
                    return None
                # Else it was replaced since `reload`.
                with suppress(api.NotFound, api.PreconditionFailed):
                    return self._download(blob), revision
        raise ConflictError("The model store changes too often. Send the request again.")

    def write_index(self, content: bytes, revision: str) -> None:
        """See `Storage.write_index`."""
        with _store_errors():
            try:
                self._upload(INDEX, content, int(revision))
            except api.PreconditionFailed as error:
                raise ConflictError(
                    "The model store was changed. Send the request again."
                ) from error

    def add(self, id: str, files: Mapping[str, bytes]) -> None:  # noqa: A002
        """See `Storage.add`."""
        with _store_errors():
            for name, content in files.items():
                with suppress(api.PreconditionFailed):  # an attempt was not confirmed
                    self._upload(f"{VERSIONS}/{id}/{name}", content, 0)

    def folder(self, id: str) -> Path:  # noqa: A002
        """See `Storage.folder`; the version is downloaded once."""
        copy = self._copies / id
        if copy.is_dir():
            return copy
        with _store_errors():
            self._copies.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self._copies))
            try:
                self._fetch(id, artifact.MANIFEST, draft)
                for name in artifact.read_manifest(draft).files:
                    self._fetch(id, name, draft)
                draft.chmod(0o755)
                with suppress(OSError):  # another process has downloaded it
                    draft.rename(copy)
            except ArtifactError as error:
                raise StoreUnavailableError(
                    "The manifest of the version is damaged in the model store."
                ) from error
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        return copy

    def remove(self, id: str) -> None:  # noqa: A002
        """See `Storage.remove`."""
        shutil.rmtree(self._copies / id, ignore_errors=True)
        with _store_errors():
            for blob in self._list(f"{VERSIONS}/{id}/"):
                _delete(blob)

    def remove_orphans(self, ids: Collection[str]) -> None:
        """See `Storage.remove_orphans`; also removes local copies of deleted versions."""
        limit = datetime.now(UTC) - timedelta(seconds=ORPHAN_SECONDS)
        with _store_errors():
            for path in self._copies.iterdir() if self._copies.is_dir() else ():
                with suppress(FileNotFoundError):
                    is_old = path.stat().st_mtime < limit.timestamp()
                    if is_old and path.name not in ids:
                        shutil.rmtree(path, ignore_errors=True)
            for blob in self._list(f"{VERSIONS}/"):
                id = blob.name.split("/")[-2]  # noqa: A001
                if id not in ids and blob.time_created < limit:
                    _delete(blob)

    def _open(self) -> tuple[storage.Bucket, str]:
        with self._opening:
            if self._opened is None:
                bucket, prefix = open_bucket(self._url)
                self._opened = bucket, f"{prefix}/" if prefix else ""
            return self._opened

    def _blob(self, name: str) -> storage.Blob:
        bucket, prefix = self._open()
        return bucket.blob(prefix + name)

    def _list(self, name: str) -> Iterator[storage.Blob]:
        bucket, prefix = self._open()
        blobs: Iterator[storage.Blob] = bucket.list_blobs(
            prefix=prefix + name, timeout=TIMEOUT, retry=None
        )
        return blobs

    def _download(self, blob: storage.Blob) -> bytes:
        content: bytes = blob.download_as_bytes(
            if_generation_match=blob.generation, timeout=TIMEOUT, retry=None
        )
        return content

    def _fetch(self, id: str, name: str, folder: Path) -> None:  # noqa: A002
        blob = self._blob(f"{VERSIONS}/{id}/{name}")
        content = blob.download_as_bytes(timeout=TIMEOUT, retry=None)
        (folder / name).write_bytes(content)

    def _upload(self, name: str, content: bytes, generation: int) -> None:
        """Write an object whose generation is `generation` (0: that does not exist).

        Raise PreconditionFailed, also if a former attempt succeeded without being confirmed.
        """
        for attempt in range(_ATTEMPTS):
            try:
                self._blob(name).upload_from_string(
                    content, if_generation_match=generation, timeout=TIMEOUT, retry=None
                )
                return
            except (api.TooManyRequests, api.ServerError):
                if attempt + 1 == _ATTEMPTS:
                    raise
            time.sleep(_DELAY * 2**attempt)


def _delete(blob: storage.Blob) -> None:
    with suppress(api.NotFound):
        blob.delete(timeout=TIMEOUT, retry=None)


@contextmanager
def _store_errors() -> Iterator[None]:
    """Raise StoreUnavailableError for errors of the bucket and of the folder for copies."""
    try:
        with gcs_errors():
            yield
    except SourceError as error:
        raise StoreUnavailableError(f"The model store cannot be used: {error}.") from error
