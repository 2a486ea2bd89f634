"""Tests of zips, valid and malicious."""

import io
import random
import stat
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pytest

from evaluation.errors import SourceError, UnsafeZipError
from evaluation.sources.archive import Limits, open_zip
from evaluation.types import Sample, UnreadableSample
from tests.evaluation.fakes import gray_png

LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"


def write_zip(
    path: Path, *entries: tuple[str | ZipInfo, bytes], method: int = ZIP_DEFLATED
) -> Path:
    with ZipFile(path, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content, method)
    return path


def patch(path: Path, signature: bytes, offset: int, form: str, *values: int) -> None:
    """Write numbers at `offset` from the first header with the signature."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, data.index(signature) + offset, *values)
    path.write_bytes(data)


def error_message(path: Path, limits: Limits | None = None) -> str:
    with pytest.raises(UnsafeZipError) as caught:
        open_zip(path, limits=limits)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("method", [ZIP_STORED, ZIP_DEFLATED])
def test_valid_zip_is_read(tmp_path: Path, method: int) -> None:
    path = write_zip(
        tmp_path / "set.zip",
        ("digits/", b""),
        ("digits/7/a.png", gray_png(1)),
        ("digits/9/b.png", gray_png(2)),
        ("__MACOSX/digits/7/._a.png", b"x"),
        ("digits/.DS_Store", b"x"),
        ("digits/inner.zip", b"PK"),
        method=method,
    )
    with open_zip(path) as source:
        assert list(source.samples()) == [
            Sample("digits/7/a.png", gray_png(1), "7"),
            Sample("digits/9/b.png", gray_png(2), "9"),
        ]
        assert source.notes == ("files skipped (not images): 1",)


def test_zip_written_to_a_pipe_is_read(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        """Not seekable, so that sizes follow the data."""

        data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.data += bytes(data)  # type: ignore[call-overload]
            return len(bytes(data))  # type: ignore[call-overload]

    pipe = Pipe()
    with ZipFile(pipe, "w", ZIP_DEFLATED) as archive:
        archive.writestr("7/a.png", gray_png())
        archive.writestr("7/b.png", gray_png())
    (tmp_path / "set.zip").write_bytes(pipe.data)
    with open_zip(tmp_path / "set.zip") as source:
        assert len(list(source.samples())) == 2


def test_image_with_two_names_fails_individually(tmp_path: Path) -> None:
    """The header of the file has another name than the directory, and is not in UTF-8."""
    name = "7/\u00e4.png"
    path = write_zip(tmp_path / "set.zip", (name, gray_png(1)), ("7/b.png", gray_png(2)))
    path.write_bytes(path.read_bytes().replace(name.encode(), b"7/\xff\xff.png", 1))
    with open_zip(path) as source:
        first, second = source.samples()
    assert isinstance(first, Sample)
    assert second == UnreadableSample(name, "7", "The file is damaged inside the zip.")


def test_damaged_image_fails_individually(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "set.zip", ("7/a.png", gray_png(1)), ("7/b.png", gray_png(2)), method=ZIP_STORED
    )
    path.write_bytes(path.read_bytes().replace(gray_png(1), gray_png(1)[:-4] + b"oops"))
    with open_zip(path) as source:
        first, second = source.samples()
    assert first == UnreadableSample("7/a.png", "7", "The file is damaged inside the zip.")
    assert isinstance(second, Sample)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../7/a.png", "leads out of the zip"),
        ("7/../../a.png", "leads out of the zip"),
        ("/7/a.png", "is not a plain relative path"),
        ("C:/7/a.png", "is not a plain relative path"),
        ("7\\..\\a.png", "is not a plain relative path"),
    ],
)
def test_unsafe_paths_are_rejected(tmp_path: Path, name: str, reason: str) -> None:
    path = write_zip(
        tmp_path / "set.zip", ("7/a.png", gray_png()), ("7/XXXXXXXXXXXX"[: len(name)], b"")
    )
    data = path.read_bytes().replace("7/XXXXXXXXXXXX"[: len(name)].encode(), name.encode())
    path.write_bytes(data)
    assert reason in error_message(path)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(stat.S_IFLNK, "is a symbolic link"), (stat.S_IFIFO, "is not a regular file")],
)
def test_links_and_devices_are_rejected(tmp_path: Path, kind: int, reason: str) -> None:
    link = ZipInfo("7/link.png")
    link.create_system = 3
    link.external_attr = (kind | 0o777) << 16
    path = write_zip(tmp_path / "set.zip", ("7/a.png", gray_png()), (link, b"/etc/passwd"))
    assert reason in error_message(path)


def test_encrypted_entries_are_rejected(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", ("7/a.png", gray_png()))
    patch(path, CENTRAL, 8, "<H", 1)
    assert "is encrypted" in error_message(path)


def test_unsupported_compression_is_rejected(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", ("7/a.png", gray_png()), method=ZIP_BZIP2)
    assert "create the zip with deflate" in error_message(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("again", ["7/a.png", "7//a.png", "./7/a.png"])
def test_duplicate_names_are_rejected(tmp_path: Path, again: str) -> None:
    path = write_zip(tmp_path / "set.zip", ("7/a.png", gray_png()), (again, gray_png()))
    assert "occurs twice" in error_message(path)


def test_limits_are_enforced(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(5_000)
    path = write_zip(tmp_path / "set.zip", ("7/a.png", noise), ("7/b.png", noise))
    assert "it has more than 1 entries" in error_message(path, Limits(entries=1))
    assert "it inflates to 10,000 bytes; the limit is 9,999" in error_message(
        path, Limits(total=9_999)
    )
    assert "inflates to 5,000 bytes; the limit is 4,999" in error_message(path, Limits(entry=4_999))
    with open_zip(path, limits=Limits(entries=2, total=10_000, entry=5_000)) as source:
        assert len(source) == 2


def test_oversized_directory_is_not_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", *((f"7/{n:0250}.png", b"") for n in range(1_000)))
    assert "too many entries" in error_message(path, Limits(entries=1))


def test_high_compression_ratio_is_rejected_for_large_entries(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", ("7/a.png", bytes(5_000_000)))
    assert "more than 200 times its compressed size" in error_message(path)
    small = write_zip(tmp_path / "small.zip", ("7/a.png", bytes(900_000)))
    with open_zip(small) as source:
        assert len(source) == 1


def test_high_compression_ratio_is_rejected_for_many_small_entries(tmp_path: Path) -> None:
    entries = [(f"7/{number}.png", bytes(990_000)) for number in range(3)]
    message = error_message(write_zip(tmp_path / "set.zip", *entries))
    assert "it inflates to more than 200 times its compressed size" in message


def test_directory_with_more_entries_than_declared_is_rejected(tmp_path: Path) -> None:
    """Each entry costs memory before the number of entries is known."""
    path = write_zip(tmp_path / "set.zip", *((f"7/{n}.png", b"") for n in range(1_000)))
    patch(path, END, 8, "<2H", 1, 1)
    tracemalloc.start()
    assert "it has more than 500 entries" in error_message(path, Limits(entries=500))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000


def test_entries_that_share_data_are_rejected(tmp_path: Path) -> None:
    """Like Fifield's zip bomb: two names for the same data."""
    path = write_zip(tmp_path / "set.zip", ("7/a.png", gray_png()), ("7/b.png", gray_png()))
    data = bytearray(path.read_bytes())
    second = data.index(CENTRAL, data.index(CENTRAL) + 4)
    struct.pack_into("<I", data, second + 42, 0)
    path.write_bytes(data)
    assert "overlaps another entry" in error_message(path)


def test_entries_that_extend_into_the_next_are_rejected(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "set.zip", ("7/a.png", gray_png()), ("7/b.png", gray_png()), method=ZIP_STORED
    )
    longer = len(gray_png()) + 20
    patch(path, CENTRAL, 20, "<2I", longer, longer)
    patch(path, LOCAL, 18, "<2I", longer, longer)
    assert "overlaps another entry" in error_message(path)


@pytest.mark.parametrize("difference", [-1, 1, 1_000])
@pytest.mark.parametrize("follows", [False, True])
def test_wrong_declared_size_is_rejected(tmp_path: Path, difference: int, follows: bool) -> None:
    """Both headers have the wrong size, or the sizes follow the data."""
    path = write_zip(tmp_path / "set.zip", ("7/a.png", gray_png()))
    patch(path, CENTRAL, 24, "<I", len(gray_png()) + difference)
    if follows:
        patch(path, LOCAL, 6, "<H", 8)
    patch(path, LOCAL, 22, "<I", 0 if follows else len(gray_png()) + difference)
    assert "does not have the size that the zip declares" in error_message(path)


def test_bomb_with_a_small_declared_size_is_rejected(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", ("7/a.png", bytes(300_000_000)))
    patch(path, CENTRAL, 24, "<I", 1_000)
    patch(path, LOCAL, 22, "<I", 1_000)
    assert "does not have the size that the zip declares" in error_message(path)


def test_stored_entry_with_two_sizes_is_rejected(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", ("7/a.png", gray_png()), method=ZIP_STORED)
    patch(path, CENTRAL, 24, "<I", len(gray_png()) + 5)
    patch(path, LOCAL, 22, "<I", len(gray_png()) + 5)
    assert "does not have the size that the zip declares" in error_message(path)


def test_contradicting_headers_are_rejected(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", ("7/a.png", gray_png()))
    patch(path, LOCAL, 22, "<I", 5)
    assert "two different declared sizes" in error_message(path)
    path = write_zip(tmp_path / "set.zip", ("7/a.png", gray_png()))
    patch(path, LOCAL, 8, "<H", ZIP_STORED)
    assert "two different descriptions" in error_message(path)


def test_file_that_is_not_a_zip_raises_source_error(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    for content in (b"", b"hello", write_zip(path, ("7/a.png", gray_png())).read_bytes()[:-10]):
        path.write_bytes(content)
        with pytest.raises(SourceError, match="is not a readable zip"):
            open_zip(path)


def test_random_damage_raises_at_most_source_error(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", *((f"{n}/a.png", gray_png(n)) for n in range(4)))
    valid, rng = path.read_bytes(), random.Random(1)
    for _ in range(300):
        data = bytearray(valid)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        with suppress(SourceError), open_zip(path) as source:
            list(source.samples())
