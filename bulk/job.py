"""The output folder of a job.

DIR/
  part-000000.parquet   the rows of one unit of work; complete, or absent
  _job.json             what the job is: source, model, options
  _work.parquet         the images of the source, listed once; row group N is unit N

Readers of Parquet datasets skip names that begin with an underscore. Of several tasks, each has
its own files: part-00001-000000.parquet, _job-00001-of-00004.json.
"""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from bulk import rows
from bulk.errors import JobError, SourceError, StorageError
from bulk.listing import MODEL_KEY, Image, Listing
from bulk.storage import Storage

FORMAT: Final = 1
MAX_PART_IMAGES: Final = 1_000
_MIN_PART_IMAGES: Final = 32
_PARTS: Final = 64  # of a small job, so that many processors can share it
_MAX_CLASSES: Final = 100_000
_WORK: Final = pa.schema(
    [
        ("path", pa.binary()),  # names of files may not be UTF-8
        ("container", pa.binary()),
        ("kind", pa.int8()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("label", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a job is; it may be continued only with equal settings."""

    source: str
    model: str
    version: str
    sha256: str  # of the model's manifest, which has the checksums of all its files
    coverage: float
    top_k: int
    labels: bool
    part_images: int | None  # None: chosen by the number of images
    task: int = 0
    tasks: int = 1
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Job:
    """A listed job.

    `images` is the number of images, `units` that of units of work, `skipped` of files that are no
    images. `level` is the position of the class folder in a path: 1 if all paths share a folder
    above it. `label_map` has the model's label of each class, if the job is labeled.
    """

    settings: Settings
    out: str
    root: str  # the address that paths are relative to
    images: int
    part_images: int
    units: int
    skipped: int
    level: int
    label_map: dict[str, str]

    def read_unit(self, unit: int) -> list[Image]:
        """Return the images of a unit, with the labels of the model."""
        with Storage(self.out).open(_names(self.settings)[1]) as file:
            table = pq.ParquetFile(file).read_row_group(unit)
        images = [_decode(row) for row in table.to_pylist()]
        if not self.settings.labels:
            return [replace(image, label=None) for image in images]
        labels = [rows.class_name(image, self.level) for image in images]
        return [
            replace(image, label=None if label is None else self.label_map.get(label))
            for image, label in zip(images, labels, strict=True)
        ]

    def part(self, unit: int) -> str:
        """Return the name of the file of a unit."""
        task = f"{self.settings.task:05d}-" if self.settings.tasks > 1 else ""
        return f"part-{task}{unit:06d}.parquet"

    def pending(self) -> list[int]:
        """Return the units that have no file yet."""
        done = set(Storage(self.out).names())
        return [unit for unit in range(self.units) if self.part(unit) not in done]


@dataclass(slots=True)
class _Classes:
    """The names of classes in a source: explicit ones, and folders by their level in a path."""

    explicit: set[str] = field(default_factory=set)
    folders: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))
    all_deep: bool = True

    @property
    def level(self) -> int:
        """1 if all paths share a folder above the classes, as digits/7/a.png, else 0."""
        return int(self.all_deep and len(self.folders[0]) == 1)


def open_job(settings: Settings, out: str) -> Job | None:
    """Return the job in the folder `out`, or None if the folder is new or empty.

    Raise JobError if it has the results of another job.
    """
    storage = Storage(out)
    names = storage.names()
    own = _names(settings)[0]
    if own in names:
        found = json.loads(storage.read(own, 1_000_000_000) or b"{}")
        if found.get("settings") != json.loads(json.dumps(asdict(settings))):
            raise JobError(_describe_differences(out, found.get("settings", {}), settings))
        return Job(**{**found, "settings": settings, "out": out})
    if other := next((n for n in names if n.startswith("_job") and not _is_sibling(n, own)), None):
        raise JobError(f"{out} has the results of another job ({other}); choose another folder")
    foreign = [n for n in names if not n.startswith(("_", ".", "part-"))]
    if foreign:
        raise JobError(f"{out} is not empty ({foreign[0]}); choose another folder with --out")
    return None


def create_job(settings: Settings, out: str) -> Job:
    """List the source and write the job into the folder `out`; raise SourceError."""
    storage = Storage(out)
    listing = Listing(settings.source, task=settings.task, tasks=settings.tasks)
    work = _names(settings)[1]
    part_images = settings.part_images or MAX_PART_IMAGES
    seen = _Classes()
    images = 0
    folder = storage.root if storage.is_local else None
    try:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix="_listing-", dir=folder, delete=False) as file:
            draft = Path(file.name)
            try:
                listed = _observe(listing, seen) if settings.labels else iter(listing)
                # A small job is listed before the size of its parts is chosen.
                buffer = list(islice(listed, _PARTS * MAX_PART_IMAGES))
                if settings.part_images is None:
                    part_images = -(-len(buffer) // _PARTS)
                    part_images = min(max(part_images, _MIN_PART_IMAGES), MAX_PART_IMAGES)
                remaining = chain(buffer, listed)
                del buffer
                schema = _WORK.with_metadata({MODEL_KEY: settings.model})
                with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                    while batch := list(islice(remaining, part_images)):
                        writer.write_table(_encode(batch, schema), row_group_size=len(batch))
                        images += len(batch)
                file.close()
                if not images and settings.tasks == 1:
                    raise SourceError(
                        f"{settings.source} contains no images ({listing.skipped:,} other files); "
                        "check SOURCE and the suffixes of the files, such as .jpg and .png"
                    )
                storage.upload(draft, work)
            finally:
                draft.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{error.filename or out}: {error.strerror}") from error
    return Job(
        settings=settings,
        out=out,
        root=listing.storage.address,
        images=images,
        part_images=part_images,
        units=-(-images // part_images),
        skipped=listing.skipped,
        level=seen.level,
        label_map={name: name for name in sorted(seen.explicit or seen.folders[seen.level])},
    )


def write_job(job: Job) -> None:
    """Write `_job.json`, after which the job can be continued."""
    content = asdict(job)
    del content["out"]
    Storage(job.out).write(_names(job.settings)[0], json.dumps(content).encode())


def lock_job(out: str, task: int, tasks: int = 1) -> FileLock | None:
    """Lock a local output folder until the process ends; raise JobError if another one uses it.

    Unfinished files of a process that was killed are removed.
    """
    storage = Storage(out)
    if not storage.is_local:
        return None
    lock = FileLock(Path(storage.root) / f"_job-{task:05d}.lock")
    try:
        Path(storage.root).mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        if tasks == 1:
            for pattern in ("_listing-*", ".*.tmp"):
                for draft in Path(storage.root).glob(pattern):
                    draft.unlink(missing_ok=True)
    except Timeout as error:
        raise JobError(f"another process writes to {out}; wait until it ends") from error
    except OSError as error:
        raise StorageError(
            f"{out} cannot be written: {error.strerror}; choose another folder with --out"
        ) from error
    return lock


def parts(job: Job, columns: list[str]) -> Iterator[dict[str, list[Any]]]:
    """Yield the columns of each part file of a job, in order."""
    storage = Storage(job.out)
    done = set(storage.names())
    for name in (job.part(unit) for unit in range(job.units)):
        if name in done:
            with storage.open(name) as file:
                yield pq.ParquetFile(file).read(columns).to_pydict()


def count_errors(job: Job) -> Counter[str | None]:
    """Return the number of rows by error code, None for images with a prediction."""
    counts: Counter[str | None] = Counter()
    for columns in parts(job, ["error"]):
        counts.update(columns["error"])
    return counts


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _observe(listing: Iterable[Image], seen: _Classes) -> Iterator[Image]:
    """Yield the images and collect the names of their classes."""
    for image in listing:
        parts = image.path.split("/")
        seen.all_deep = seen.all_deep and len(parts) > 2
        if image.label is not None:
            seen.explicit.add(image.label)
        for level, names in enumerate(seen.folders):
            if (name := rows.class_name(replace(image, label=None), level)) is not None:
                names.add(name)
        if max(map(len, seen.folders)) > _MAX_CLASSES:
            raise SourceError(
                f"the source has more than {_MAX_CLASSES:,} class folders; use --labels for "
                "labeled images only"
            )
        yield image


def _names(settings: Settings) -> tuple[str, str]:
    """Return the names of the files of the job and of its work."""
    task = f"-{settings.task:05d}-of-{settings.tasks:05d}" if settings.tasks > 1 else ""
    return f"_job{task}.json", f"_work{task}.parquet"


def _is_sibling(name: str, own: str) -> bool:
    """Whether a file belongs to another task of the same job, or is a lock."""
    if name.endswith(".lock"):
        return True
    _, of, count = own.partition("-of-")
    return bool(of) and name.endswith(of + count)


def _encode(images: list[Image], schema: pa.Schema) -> pa.Table:
    def encode(text: str | None) -> bytes | None:
        return None if text is None else text.encode("utf-8", "surrogateescape")

    columns = {
        "path": [encode(image.path) for image in images],
        "container": [encode(image.container) for image in images],
        "kind": [image.kind for image in images],
        "offset": [image.offset for image in images],
        "size": [image.size for image in images],
        "label": [image.label for image in images],
    }
    return pa.table(columns, schema=schema)


def _decode(row: dict[str, Any]) -> Image:
    for name in ("path", "container"):
        if row[name] is not None:
            row[name] = row[name].decode("utf-8", "surrogateescape")
    return Image(**row)


def _describe_differences(out: str, found: dict[str, Any], wanted: Settings) -> str:
    differing = {
        name: (found.get(name), value)
        for name, value in json.loads(json.dumps(asdict(wanted))).items()
        if found.get(name) != value
    }
    text = ", ".join(f"{name} was {old!r}, not {new!r}" for name, (old, new) in differing.items())
    return f"{out} has the results of another job ({text}); choose another folder with --out"
