"""A zip of class folders, read entry by entry in memory; one that lies is refused first.

Every entry is judged before any is used: names, kinds, sizes against the limits, and whether the
parts of the file that they claim overlap (Fifield 2019). The pictures are then inflated once, to
nowhere, to see that each is as long as it says.
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
from evaluation.sources.class_folders import arrange, is_picture
from evaluation.sources.base import BrokenFileError, Source

_HEADER: Final = struct.Struct("<4s5H3L2H")  # the local file header, before name and extra field
_DIRECTORY_BYTES: Final = 256  # for each entry that is allowed: 46, its name and its extra fields
_CHUNK: Final = 1 << 18
_ENCRYPTED, _SIZES_FOLLOW = 0x1, 0x8  # of an entry's flags
_IN_ZIP64: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Limits:
    """What a zip may hold: entries, bytes in total and in one entry once inflated.

    An entry above `ratio_from` bytes may be `ratio` times as large as it is packed.
    """

    entries: int = 100_000
    total: int = 4_000_000_000
    entry: int = 50_000_000
    ratio: int = 200
    ratio_from: int = 1_000_000


class _Bounded(io.BufferedReader):
    """A file of which no more than `limit` bytes are read at once."""

    limit: int

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.limit:
            raise UnsafeZipError("it has more entries than allowed")
        return super().read(size)


def open_zip(path: Path, *, labelled: bool = True, limits: Limits | None = None) -> Source:
    """Open the zip at `path`, after judging it.

    Raises UnsafeZipError where it lies or is larger than the `limits`, SourceError where it is no
    zip or holds no pictures.
    """
    limits = limits or Limits()
    try:
        file = _Bounded(path.open("rb", buffering=0))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    try:
        file.limit = max(limits.entries * _DIRECTORY_BYTES, _CHUNK)
        archive = ZipFile(file)
        file.limit = max(limits.entry, _CHUNK)
        entries = archive.infolist()
        _judge(entries, limits)
        _measure(file, entries, archive.start_dir)
        names = [entry.filename for entry in entries if not entry.is_dir()]
        layout = arrange(str(path), names, labelled=labelled)
    except UnsafeZipError as error:
        file.close()
        raise UnsafeZipError(f"{path} is refused: {error}") from error
    except SourceError:
        file.close()
        raise
    except (BadZipFile, OSError, ValueError, NotImplementedError) as error:
        file.close()
        raise SourceError(f"{path} is not a zip that can be read") from error

    def read(index: int) -> bytes:
        try:
            return archive.read(layout.paths[index])
        except (BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise BrokenFileError("The file is damaged within the zip.") from error

    return Source(path.name, layout.items, read, layout.notes, file.close, layout.above)


def _judge(entries: list[ZipInfo], limits: Limits) -> None:
    """Refuse what the directory of the zip already gives away."""
    if len(entries) > limits.entries:
        raise UnsafeZipError(f"it has {len(entries):,} entries; {limits.entries:,} are allowed")
    total = sum(entry.file_size for entry in entries)
    if total > limits.total:
        raise UnsafeZipError(f"it unpacks to {total:,} bytes; {limits.total:,} are allowed")
    seen: set[str] = set()
    for entry in entries:
        name = repr(entry.orig_filename)
        if reason := _objection(entry, limits):
            raise UnsafeZipError(f"{name} {reason}")
        path = str(PurePosixPath(entry.filename))
        if path in seen:
            raise UnsafeZipError(f"{name} is in it twice")
        seen.add(path)


def _objection(entry: ZipInfo, limits: Limits) -> str | None:
    name, size = entry.orig_filename, entry.file_size
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if "\0" in name or "\\" in name or name.startswith("/") or ":" in name.split("/")[0]:
        return "is not a plain relative path"
    if ".." in PurePosixPath(name).parts:
        return "leads out of the zip"
    if kind == stat.S_IFLNK:
        return "is a symbolic link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is not a plain file"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted; make the zip without a password"
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return "is compressed in a way that is not read; make the zip with deflate"
    if size > limits.entry:
        return f"unpacks to {size:,} bytes; {limits.entry:,} are allowed"
    if size > limits.ratio_from and size > limits.ratio * entry.compress_size:
        return f"unpacks to more than {limits.ratio} times its packed size"
    return None


def _measure(file: io.BufferedReader, entries: Iterable[ZipInfo], end: int) -> None:
    """Refuse entries that share bytes, that two places describe differently, or of a wrong size."""
    last = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        name = repr(entry.filename)
        if entry.header_offset < last:
            raise UnsafeZipError(f"{name} overlaps with another entry")
        start = _data_start(file, entry)
        last = start + entry.compress_size
        if last > end:
            raise UnsafeZipError(f"{name} reaches beyond the end of the files")
        if is_picture(PurePosixPath(entry.filename)) and not _is_as_long_as_said(
            file, start, entry
        ):
            raise UnsafeZipError(f"{name} is not of the size that the zip declares")


def _data_start(file: io.BufferedReader, entry: ZipInfo) -> int:
    file.seek(entry.header_offset)
    head = file.read(_HEADER.size)
    if len(head) < _HEADER.size or not head.startswith(b"PK\3\4"):
        raise UnsafeZipError(f"{entry.filename!r} is not where the zip says")
    _, _, flags, method, _, _, _, packed, size, name_length, extra_length = _HEADER.unpack(head)
    declared = [(packed, entry.compress_size), (size, entry.file_size)]
    if method != entry.compress_type or flags & _ENCRYPTED:
        raise UnsafeZipError(f"{entry.filename!r} is described in two different ways")
    if not flags & _SIZES_FOLLOW and any(a not in (b, _IN_ZIP64) for a, b in declared):
        raise UnsafeZipError(f"{entry.filename!r} is declared with two different sizes")
    return entry.header_offset + _HEADER.size + int(name_length) + int(extra_length)


def _is_as_long_as_said(file: io.BufferedReader, start: int, entry: ZipInfo) -> bool:
    """Inflate without keeping anything; what is damaged on the way is told when it is read."""
    if entry.compress_type == ZIP_STORED:
        return entry.compress_size == entry.file_size
    file.seek(start)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    left, size = entry.compress_size, 0
    try:
        while left and not stream.eof and (packed := file.read(min(left, _CHUNK))):
            left -= len(packed)
            more = True
            while more and size <= entry.file_size:
                piece = stream.decompress(packed, _CHUNK)
                size += len(piece)
                packed = stream.unconsumed_tail
                more = bool(packed) or len(piece) == _CHUNK
    except zlib.error:
        return True
    return stream.eof and size == entry.file_size
