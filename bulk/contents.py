"""Reads the contents of listed images."""

import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from bulk import errors, listing
from bulk.errors import ContentError
from bulk.listing import Image
from bulk.storage import Storage

MAX_IMAGE_BYTES: Final = 50_000_000
CHUNK_IMAGES: Final = 32
CHUNK_BYTES: Final = 32_000_000
_REMOTE_READS: Final = 16  # concurrent requests of a process
_ROWS: Final = 64  # of a table that are in memory

Content = bytes | ContentError


class Contents:
    """Reads images in chunks of at most 32 images and about 32 MB. Use it from one thread."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._pool = None if storage.is_local else ThreadPoolExecutor(_REMOTE_READS, "bulk-read")

    def chunks(self, images: Sequence[Image]) -> Iterator[list[tuple[Image, Content]]]:
        """Yield all images, in order, with their contents; raise StorageError."""
        chunk: list[tuple[Image, Content]] = []
        size = 0
        for image, content in self._read_all(images):
            chunk.append((image, content))
            size += len(content) if isinstance(content, bytes) else 0
            if len(chunk) >= CHUNK_IMAGES or size >= CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def _read_all(self, images: Sequence[Image]) -> Iterator[tuple[Image, Content]]:
        start = 0
        while start < len(images):
            if images[start].kind == listing.ROW:
                end = start
                group = (images[start].container, images[start].offset)
                while end < len(images) and (images[end].container, images[end].offset) == group:
                    end += 1
                yield from self._read_rows(images[start:end])
            elif self._pool is None:
                end = start + 1
                yield images[start], self._read(images[start])
            else:
                end = min(start + _REMOTE_READS, len(images))
                some = images[start:end]
                rows = next((i for i, one in enumerate(some) if one.kind == listing.ROW), len(some))
                some, end = some[:rows], start + rows
                yield from zip(some, self._pool.map(self._read, some), strict=True)
            start = end

    def _read(self, image: Image) -> Content:
        try:
            if image.kind == listing.DAMAGED:
                return ContentError(errors.DAMAGED_CONTAINER)
            if image.kind == listing.UNREADABLE:
                return ContentError(errors.UNREADABLE)
            if image.kind == listing.FILE:
                data = self._storage.read(image.path, MAX_IMAGE_BYTES)
                return ContentError(errors.TOO_LARGE) if data is None else data
            return self._read_member(image)
        except (OSError, ValueError):  # ValueError: a NUL character in a path
            return ContentError(errors.UNREADABLE)

    def _read_member(self, image: Image) -> Content:
        if image.size > MAX_IMAGE_BYTES:
            return ContentError(errors.TOO_LARGE)
        data = self._storage.read_range(image.container or "", image.offset, image.size)
        if len(data) < image.size:
            return ContentError(errors.UNREADABLE)
        if image.kind == listing.STORED:
            return data
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            inflated = stream.decompress(data, MAX_IMAGE_BYTES + 1)
        except zlib.error:
            return ContentError(errors.UNREADABLE)
        if len(inflated) > MAX_IMAGE_BYTES:
            return ContentError(errors.TOO_LARGE)
        return inflated if stream.eof else ContentError(errors.UNREADABLE)

    def _read_rows(self, images: Sequence[Image]) -> Iterator[tuple[Image, Content]]:
        """Yield images in ascending rows of one row group of a table."""
        container, group = images[0].container or "", images[0].offset
        remaining = iter(images)
        image = next(remaining, None)
        try:
            with self._storage.open(container) as file:
                table = pq.ParquetFile(file)
                column = listing.find_columns(table.schema_arrow)[1]
                first = 0
                for batch in table.iter_batches(_ROWS, row_groups=[group], columns=[column]):
                    values = _flatten(batch.column(0))
                    while image is not None and image.size < first + len(values):
                        yield image, _to_content(values[image.size - first].as_py())
                        image = next(remaining, None)
                    first += len(values)
                    if image is None:
                        return
        except (pa.ArrowException, OSError):
            pass
        while image is not None:
            yield image, ContentError(errors.UNREADABLE)
            image = next(remaining, None)


def _flatten(column: pa.Array) -> pa.Array:
    return column.field("bytes") if pa.types.is_struct(column.type) else column


def _to_content(value: bytes | None) -> Content:
    if value is None:
        return ContentError(errors.UNREADABLE)
    return value if len(value) <= MAX_IMAGE_BYTES else ContentError(errors.TOO_LARGE)
