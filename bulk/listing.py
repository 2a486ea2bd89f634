"""Lists the images of a source, one at a time: folders, zips, tars, CSV and Parquet files."""

import csv
import io
import struct
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import IO, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import pyarrow as pa
import pyarrow.parquet as pq

from bulk.errors import SourceError
from bulk.storage import Storage, has_magic
from evaluation.sources.class_folders import is_hidden, is_image
from evaluation.sources.csv_file import LABEL_COLUMNS, PATH_COLUMNS, SET_COLUMNS

# How the content of an image is found.
FILE, STORED, DEFLATED, ROW, UNREADABLE, DAMAGED = range(6)

BYTES_COLUMNS: Final = ("image", "bytes", "content", "jpg", "png")
MODEL_KEY: Final = "prism.model"  # in the metadata of the tables that a job writes
SHARD_SUFFIXES: Final = (".tar", ".zip", ".parquet")
_COMPRESSED_TARS: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_LABEL_SUFFIXES: Final = (".cls", ".cls.txt")
_MAX_LABEL_BYTES: Final = 10_000
_LOCAL_HEADER: Final = struct.Struct("<4s5H3L2H")  # of a zip entry, without name and extra field


@dataclass(frozen=True, slots=True)
class Image:
    """An image and where its content is.

    `container` is the archive or table, None for a file. `offset` and `size` are the first byte
    and the number of bytes in an archive, or the row group and the row in it.
    """

    path: str
    container: str | None = None
    kind: int = FILE
    offset: int = 0
    size: int = 0
    label: str | None = None


class Listing:
    """The images of SOURCE; of several tasks, those of one.

    `skipped` counts the files that are no images while `images` is consumed.
    """

    def __init__(self, address: str, *, task: int = 0, tasks: int = 1) -> None:
        """Raise SourceError if the source does not exist or has an unsupported type."""
        self.skipped = 0
        self._task, self._tasks = task, tasks
        self._names: list[str] | None = None  # None: all files of a folder
        if has_magic(address):
            folder = address[: min(address.find(c) for c in "*?[" if c in address)]
            self.storage = Storage(folder.rpartition("/")[0] or ".")
            found = Storage(address).glob()
            self._names = [path.removeprefix(self.storage.root).lstrip("/") for path in found]
            if not self._names:
                raise SourceError(f"{address} matches no files; check the pattern")
            return
        storage = Storage(address)
        if storage.is_file():
            parent, _, name = storage.root.rpartition("/")
            folder = address.rpartition("/")[0] if "://" in address else parent or "/"
            self.storage, self._names = Storage(folder), [name]
            if not _is_supported(name):
                raise SourceError(f"{address}: {_describe_unsupported(name)}")
        elif storage.is_folder():
            self.storage = storage
        else:
            raise SourceError(f"{address} does not exist; check the path of SOURCE")

    def __iter__(self) -> Iterator[Image]:
        names = self.storage.walk() if self._names is None else iter(self._names)
        is_single = self._names is not None and len(self._names) == 1
        for name in names:
            if is_hidden(PurePosixPath(name)):
                continue
            for image in self._list(name, is_single=is_single):
                if image.kind == FILE or image.container is None:
                    path = image.path
                else:
                    path = image.container
                # The rows of a table of paths are divided by path, other images by their shard.
                if self._tasks == 1 or _share(path, self._tasks) == self._task:
                    yield image

    def _list(self, name: str, *, is_single: bool) -> Iterator[Image]:
        suffix = PurePosixPath(name).suffix.lower()
        if is_image(PurePosixPath(name), labeled=False):
            yield Image(name)
        elif suffix in (".csv", ".tsv") and self._names is not None:
            yield from self._list_csv(name)
        elif suffix in SHARD_SUFFIXES and self._is_mine(name, suffix):
            listers = {".tar": _list_tar, ".zip": _list_zip, ".parquet": _list_parquet}
            found = False
            try:
                with self.storage.open(name) as file:
                    for image in listers[suffix](file, name):
                        if image is None:
                            self.skipped += 1
                        else:
                            found = True
                            yield image
            except (
                *(tarfile.TarError, BadZipFile, pa.ArrowException),
                *(OSError, EOFError, struct.error, NotImplementedError),
            ) as error:
                if is_single and not found:
                    raise SourceError(
                        f"{name} is damaged, or not a {suffix[1:]} file; create or download it "
                        "again"
                    ) from error
                yield Image(name, name, DAMAGED)
        else:
            self.skipped += 1

    def _is_mine(self, name: str, suffix: str) -> bool:
        """Whether this task lists a shard; a table of paths is divided by its rows."""
        if self._tasks == 1 or suffix == ".parquet":
            return True
        return _share(name, self._tasks) == self._task

    def _list_csv(self, name: str) -> Iterator[Image]:
        address = f"{self.storage.address}/{name}"
        with self.storage.open(name) as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
            try:
                header = text.readline()
                delimiter = max(",;\t", key=header.count)
                columns = next(csv.reader([header], delimiter=delimiter), [])
                folded = [column.strip().lower() for column in columns]
                path_column = _find(folded, PATH_COLUMNS)
                label_column = _find(folded, (*LABEL_COLUMNS, *SET_COLUMNS))
                if path_column is None:
                    raise SourceError(
                        f"{address} has no column 'path'; the first line must name the columns, "
                        "such as path,label"
                    )
                for row in csv.reader(text, delimiter=delimiter):
                    if not any(cell.strip() for cell in row):
                        continue
                    path = row[path_column].strip() if len(row) > path_column else ""
                    has_label = label_column is not None and len(row) > label_column
                    label = row[label_column].strip() if has_label else None  # type: ignore[index]
                    yield Image(path, kind=FILE if path else UNREADABLE, label=label or None)
            except UnicodeDecodeError as error:
                raise SourceError(f"{address} is not encoded as UTF-8") from error
            except csv.Error as error:
                raise SourceError(f"{address} is not a valid CSV file") from error


def _share(name: str, tasks: int) -> int:
    """Return the number of the task that has a file, whose name may not be UTF-8."""
    return zlib.crc32(name.encode("utf-8", "surrogateescape")) % tasks


def _list_tar(file: IO[bytes], name: str) -> Iterator[Image | None]:
    """Yield the images of a plain tar; a file `KEY.cls` has the label of the images `KEY.*`."""
    pending: list[Image] = []
    key, label = "", None
    with tarfile.open(fileobj=file, mode="r:", errors="surrogateescape") as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # else tarfile keeps every member in memory
            if not member.isfile() or member.issparse():
                continue
            own = _key(member.name)
            if own != key:
                yield from (replace(image, label=label) for image in pending)
                pending, key, label = [], own, None
            path = PurePosixPath(member.name)
            if member.name.lower().endswith(_LABEL_SUFFIXES):
                content = archive.extractfile(member)
                if content is not None:
                    label = content.read(_MAX_LABEL_BYTES).decode("utf-8", "replace").strip()
            elif is_image(path, labeled=False):
                text = member.name.removeprefix("./")
                pending.append(Image(text, name, STORED, member.offset_data, member.size))
            elif not is_hidden(path) and path.suffix not in (".json", ".txt"):
                yield None
        yield from (replace(image, label=label) for image in pending)
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile ends there without an error
            raise tarfile.ReadError("damaged header")


def _list_zip(file: IO[bytes], name: str) -> Iterator[Image | None]:
    with ZipFile(file) as archive:
        entries = archive.infolist()
        for entry in entries:
            path = PurePosixPath(entry.filename)
            if entry.is_dir() or is_hidden(path):
                continue
            if not is_image(path, labeled=False):
                yield None
                continue
            kind = {ZIP_STORED: STORED, ZIP_DEFLATED: DEFLATED}.get(entry.compress_type, UNREADABLE)
            file.seek(entry.header_offset)
            header = file.read(_LOCAL_HEADER.size)
            if entry.flag_bits & 1 or not header.startswith(b"PK\3\4") or len(header) < 30:
                kind = UNREADABLE  # encrypted, or damaged
                header = header.ljust(_LOCAL_HEADER.size, b"\0")
            name_length, extra_length = _LOCAL_HEADER.unpack(header)[-2:]
            start = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
            yield Image(entry.filename, name, kind, start, entry.compress_size)


def _list_parquet(file: IO[bytes], name: str) -> Iterator[Image | None]:
    """Yield the rows of a table of image bytes, also {bytes, path} as of Hugging Face, or paths."""
    table = pq.ParquetFile(file)
    if MODEL_KEY.encode() in (table.schema_arrow.metadata or {}):
        yield None  # results in the folder of the images would give these a second row
        return
    path_column, bytes_column, label_column = find_columns(table.schema_arrow)
    if path_column is None and bytes_column is None:
        raise SourceError(
            f"{name} has no column 'path' of texts and no column 'image' or 'bytes' of image files"
        )
    columns = [column for column in (path_column, label_column) if column is not None]
    for group in range(table.num_row_groups):
        if not columns:
            count = table.metadata.row_group(group).num_rows
            for index in range(count):
                yield Image(f"{group}/{index}", name, ROW, group, index)
            continue
        index = 0
        for batch in table.iter_batches(1_000, row_groups=[group], columns=columns):
            rows = batch.to_pydict()
            paths = rows[path_column] if path_column else [None] * len(batch)
            labels = rows[label_column] if label_column else [None] * len(batch)
            for path, label in zip(paths, labels, strict=True):
                text = None if label is None else str(label)
                if bytes_column is None:
                    yield Image(path or "", kind=FILE if path else UNREADABLE, label=text)
                else:
                    yield Image(path or f"{group}/{index}", name, ROW, group, index, text)
                index += 1


def find_columns(schema: pa.Schema) -> tuple[str | None, str | None, str | None]:
    """Return the columns of paths, image files and labels of a table; the second may be `a.b`."""
    folded = {field.name.lower(): field for field in reversed(list(schema))}
    path = next((folded[n].name for n in PATH_COLUMNS if n in folded and _is_text(folded[n])), None)
    content = None
    for name in BYTES_COLUMNS:
        if name in folded and _is_binary(folded[name].type):
            content = folded[name].name
            break
        if name in folded and pa.types.is_struct(folded[name].type):
            content = f"{folded[name].name}.bytes"
            break
    label = next((folded[n].name for n in (*LABEL_COLUMNS, *SET_COLUMNS) if n in folded), None)
    return path, content, label


def _is_text(field: pa.Field) -> bool:
    return bool(pa.types.is_string(field.type) or pa.types.is_large_string(field.type))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _key(name: str) -> str:
    """Return the key of a WebDataset: the path up to the first dot of the file name."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}"


def _find(columns: list[str], names: tuple[str, ...]) -> int | None:
    return next((columns.index(name) for name in names if name in columns), None)


def _is_supported(name: str) -> bool:
    path = PurePosixPath(name)
    known = (*SHARD_SUFFIXES, ".csv", ".tsv")
    return path.suffix.lower() in known or is_image(path, labeled=False)


def _describe_unsupported(name: str) -> str:
    if name.lower().endswith(_COMPRESSED_TARS):
        return (
            "a compressed tar cannot be read at random; decompress it (images hardly get smaller "
            "by compression)"
        )
    return "not a supported source: expected a folder, zip, tar, CSV file, Parquet file or image"
