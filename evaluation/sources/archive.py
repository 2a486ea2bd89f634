"""A zip of class folders, read entry by entry in memory after it was validated.

All entries are validated before any is used: names, types, sizes against the limits, and that their
data does not overlap (Fifield 2019). Images are then inflated once, without storing the data, to
verify their declared sizes.
"""

import io
import stat
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from evaluation.errors import SourceError, UnsafeZipError
from evaluation.sources.base import BrokenFileError, Source
from evaluation.sources.class_folders import find_images, is_image

_HEADER: Final = struct.Struct("<4s5H3L2H")  # local file header, without name and extra field
_DIRECTORY_BYTES: Final = 256  # per allowed entry: 46 bytes, its name and its extra fields
_DIRECTORY_ENTRY: Final = b"PK\1\2"
_CHUNK: Final = 1 << 18
_ENCRYPTED, _SIZES_FOLLOW = 0x1, 0x8  # flag bits of an entry
_IN_ZIP64: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a zip: number of entries, inflated bytes in total and per entry.

    An entry above `ratio_from` bytes may inflate to `ratio` times its compressed size at most, and
    so may all entries together, which may be many small ones.
    """

    entries: int = 100_000
    total: int = 4_000_000_000
    entry: int = 50_000_000
    ratio: int = 200
    ratio_from: int = 1_000_000


class _LimitedReader(io.BufferedReader):
    """A file that rejects reads of more than `limit` bytes, or of more than `entries` entries.

    ZipFile reads the whole directory, and keeps an object of half a kilobyte for each entry, which
    has at least 46 bytes there.
    """

    limit: int
    entries: int

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.limit:
            raise UnsafeZipError("it has too many entries")
        data = super().read(size)
        if data.count(_DIRECTORY_ENTRY) > self.entries:
            raise UnsafeZipError(f"it has more than {self.entries:,} entries")
        return data


def open_zip(path: Path, *, labeled: bool = True, limits: Limits | None = None) -> Source:
    """Validate and open the zip at `path`.

    Raise UnsafeZipError if it is inconsistent or exceeds the `limits`, SourceError if it is not a
    zip or contains no images.
    """
    limits = limits or Limits()
    try:
        file = _LimitedReader(path.open("rb", buffering=0))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    try:
        file.limit = max(limits.entries * _DIRECTORY_BYTES, _CHUNK)
        file.entries = limits.entries
        archive = ZipFile(file)
        file.entries = file.limit  # image data may contain the signature
        file.limit = max(limits.entry, _CHUNK)
        entries = archive.infolist()
        validate_directory(entries, limits)
        _validate_data(file, entries, archive.start_dir)
        names = [entry.filename for entry in entries if not entry.is_dir()]
        layout = find_images(str(path), names, labeled=labeled)
    except UnsafeZipError as error:
        file.close()
        raise UnsafeZipError(f"{path} was rejected: {error}") from error
    except SourceError:
        file.close()
        raise
    except (BadZipFile, OSError, ValueError, NotImplementedError) as error:
        file.close()
        raise SourceError(f"{path} is not a readable zip") from error

    def read(index: int) -> bytes:
        try:
            return archive.read(layout.paths[index])
        except (BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
            raise BrokenFileError("The file is damaged inside the zip.") from error

    return Source(path.name, layout.items, read, layout.notes, file.close, layout.skipped_folder)


def validate_directory(entries: list[ZipInfo], limits: Limits) -> None:
    """Raise UnsafeZipError if the names, types or declared sizes of the entries are not allowed."""
    total = sum(entry.file_size for entry in entries)
    if total > limits.total:
        raise UnsafeZipError(f"it inflates to {total:,} bytes; the limit is {limits.total:,}")
    packed = sum(entry.compress_size for entry in entries)
    if total > limits.ratio_from and total > limits.ratio * packed:
        raise UnsafeZipError(f"it inflates to more than {limits.ratio} times its compressed size")
    paths: set[str] = set()
    for entry in entries:
        name = repr(entry.orig_filename)
        if reason := _reason_to_reject(entry, limits):
            raise UnsafeZipError(f"{name} {reason}")
        path = str(PurePosixPath(entry.filename))
        if path in paths:
            raise UnsafeZipError(f"{name} occurs twice")
        paths.add(path)


def _reason_to_reject(entry: ZipInfo, limits: Limits) -> str | None:
    name, size = entry.orig_filename, entry.file_size
    file_type = stat.S_IFMT(entry.external_attr >> 16)
    if "\0" in name or "\\" in name or name.startswith("/") or ":" in name.split("/")[0]:
        return "is not a plain relative path"
    if ".." in PurePosixPath(name).parts:
        return "leads out of the zip"
    if file_type == stat.S_IFLNK:
        return "is a symbolic link"
    if file_type not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is not a regular file"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted; create the zip without a password"
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return "has an unsupported compression method; create the zip with deflate"
    if size > limits.entry:
        return f"inflates to {size:,} bytes; the limit is {limits.entry:,}"
    if size > limits.ratio_from and size > limits.ratio * entry.compress_size:
        return f"inflates to more than {limits.ratio} times its compressed size"
    return None


def _validate_data(file: io.BufferedReader, entries: Iterable[ZipInfo], end: int) -> None:
    """Reject entries that overlap, differ from their local header, or have a wrong size."""
    last = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        name = repr(entry.filename)
        if entry.header_offset < last:
            raise UnsafeZipError(f"{name} overlaps another entry")
        start = _data_start(file, entry)
        last = start + entry.compress_size
        if last > end:
            raise UnsafeZipError(f"{name} extends beyond the end of the data")
        is_read = is_image(PurePosixPath(entry.filename), labeled=False)
        if is_read and not _has_declared_size(file, start, entry):
            raise UnsafeZipError(f"{name} does not have the size that the zip declares")


def _data_start(file: io.BufferedReader, entry: ZipInfo) -> int:
    file.seek(entry.header_offset)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or not header.startswith(b"PK\3\4"):
        raise UnsafeZipError(f"{entry.filename!r} is not at the offset that the zip declares")
    _, _, flags, method, _, _, _, packed, size, name_length, extra_length = _HEADER.unpack(header)
    declared = [(packed, entry.compress_size), (size, entry.file_size)]
    if method != entry.compress_type or flags & _ENCRYPTED:
        raise UnsafeZipError(f"{entry.filename!r} has two different descriptions")
    if not flags & _SIZES_FOLLOW and any(a not in (b, _IN_ZIP64) for a, b in declared):
        raise UnsafeZipError(f"{entry.filename!r} has two different declared sizes")
    return entry.header_offset + _HEADER.size + int(name_length) + int(extra_length)


def _has_declared_size(file: io.BufferedReader, start: int, entry: ZipInfo) -> bool:
    """Inflate the entry and discard the data; damaged data counts as valid and fails on reading."""
    if entry.compress_type == ZIP_STORED:
        return entry.compress_size == entry.file_size
    file.seek(start)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    remaining, size = entry.compress_size, 0
    try:
        while remaining and not stream.eof and (packed := file.read(min(remaining, _CHUNK))):
            remaining -= len(packed)
            has_more = True
            while has_more and size <= entry.file_size:
                chunk = stream.decompress(packed, _CHUNK)
                size += len(chunk)
                packed = stream.unconsumed_tail
                has_more = bool(packed) or len(chunk) == _CHUNK
    except zlib.error:
        return True
    return stream.eof and size == entry.file_size
