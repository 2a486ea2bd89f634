"""Zips, honest and hostile."""

import io
import random
import stat
import struct
from contextlib import suppress
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pytest

from evaluation.errors import SourceError, UnsafeZipError
from evaluation.sources.archive import Limits, open_zip
from evaluation.types import Sample, Unreadable
from tests.evaluation.fakes import gray

LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"


def write(path: Path, *entries: tuple[str | ZipInfo, bytes], method: int = ZIP_DEFLATED) -> Path:
    with ZipFile(path, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content, method)
    return path


def patch(path: Path, signature: bytes, offset: int, form: str, *values: int) -> None:
    """Write numbers `offset` bytes behind the first header with the signature."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, data.index(signature) + offset, *values)
    path.write_bytes(data)


def refusal(path: Path, limits: Limits | None = None) -> str:
    with pytest.raises(UnsafeZipError) as caught:
        open_zip(path, limits=limits)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("method", [ZIP_STORED, ZIP_DEFLATED])
def test_an_honest_zip_is_read(tmp_path: Path, method: int) -> None:
    path = write(
        tmp_path / "set.zip",
        ("digits/", b""),
        ("digits/7/a.png", gray(1)),
        ("digits/9/b.png", gray(2)),
        ("__MACOSX/digits/7/._a.png", b"x"),
        ("digits/.DS_Store", b"x"),
        ("digits/inner.zip", b"PK"),
        method=method,
    )
    with open_zip(path) as source:
        assert list(source.samples()) == [
            Sample("digits/7/a.png", gray(1), "7"),
            Sample("digits/9/b.png", gray(2), "9"),
        ]
        assert source.notes == ("files left out, not pictures: 1",)


def test_a_zip_that_was_written_to_a_pipe_is_read(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        """Can only be written: sizes follow the data then."""

        data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.data += bytes(data)  # type: ignore[call-overload]
            return len(bytes(data))  # type: ignore[call-overload]

    pipe = Pipe()
    with ZipFile(pipe, "w", ZIP_DEFLATED) as archive:
        archive.writestr("7/a.png", gray())
        archive.writestr("7/b.png", gray())
    (tmp_path / "set.zip").write_bytes(pipe.data)
    with open_zip(tmp_path / "set.zip") as source:
        assert len(list(source.samples())) == 2


def test_a_damaged_picture_fails_alone(tmp_path: Path) -> None:
    path = write(
        tmp_path / "set.zip", ("7/a.png", gray(1)), ("7/b.png", gray(2)), method=ZIP_STORED
    )
    path.write_bytes(path.read_bytes().replace(gray(1), gray(1)[:-4] + b"oops"))
    with open_zip(path) as source:
        first, second = source.samples()
    assert first == Unreadable("7/a.png", "7", "The file is damaged within the zip.")
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
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    path = write(tmp_path / "set.zip", ("7/a.png", gray()), ("7/XXXXXXXXXXXX"[: len(name)], b""))
    data = path.read_bytes().replace("7/XXXXXXXXXXXX"[: len(name)].encode(), name.encode())
    path.write_bytes(data)
    assert reason in refusal(path)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(stat.S_IFLNK, "is a symbolic link"), (stat.S_IFIFO, "is not a plain file")],
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: int, reason: str) -> None:
    link = ZipInfo("7/link.png")
    link.create_system = 3
    link.external_attr = (kind | 0o777) << 16
    path = write(tmp_path / "set.zip", ("7/a.png", gray()), (link, b"/etc/passwd"))
    assert reason in refusal(path)


def test_encrypted_entries_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "set.zip", ("7/a.png", gray()))
    patch(path, CENTRAL, 8, "<H", 1)
    assert "is encrypted" in refusal(path)


def test_other_compressions_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "set.zip", ("7/a.png", gray()), method=ZIP_BZIP2)
    assert "make the zip with deflate" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("again", ["7/a.png", "7//a.png", "./7/a.png"])
def test_the_same_name_twice_is_refused(tmp_path: Path, again: str) -> None:
    path = write(tmp_path / "set.zip", ("7/a.png", gray()), (again, gray()))
    assert "is in it twice" in refusal(path)


def test_limits_are_kept(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(5_000)
    path = write(tmp_path / "set.zip", ("7/a.png", noise), ("7/b.png", noise))
    assert "it has 2 entries; 1 are allowed" in refusal(path, Limits(entries=1))
    assert "it unpacks to 10,000 bytes; 9,999 are allowed" in refusal(path, Limits(total=9_999))
    assert "unpacks to 5,000 bytes; 4,999 are allowed" in refusal(path, Limits(entry=4_999))
    with open_zip(path, limits=Limits(entries=2, total=10_000, entry=5_000)) as source:
        assert len(source) == 2


def test_a_directory_of_a_million_entries_is_not_even_read(tmp_path: Path) -> None:
    path = write(tmp_path / "set.zip", *((f"7/{n:0250}.png", b"") for n in range(1_000)))
    assert "more entries than allowed" in refusal(path, Limits(entries=1))


def test_a_bomb_is_refused_by_its_ratio_and_small_ones_are_let_pass(tmp_path: Path) -> None:
    path = write(tmp_path / "set.zip", ("7/a.png", bytes(5_000_000)))
    assert "more than 200 times its packed size" in refusal(path)
    small = write(tmp_path / "small.zip", ("7/a.png", bytes(900_000)))
    with open_zip(small) as source:
        assert len(source) == 1


def test_entries_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """As in Fifield's bomb: two names for the same place."""
    path = write(tmp_path / "set.zip", ("7/a.png", gray()), ("7/b.png", gray()))
    data = bytearray(path.read_bytes())
    second = data.index(CENTRAL, data.index(CENTRAL) + 4)
    struct.pack_into("<I", data, second + 42, 0)
    path.write_bytes(data)
    assert "overlaps with another entry" in refusal(path)


def test_entries_that_reach_into_the_next_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "set.zip", ("7/a.png", gray()), ("7/b.png", gray()), method=ZIP_STORED)
    longer = len(gray()) + 20
    patch(path, CENTRAL, 20, "<2I", longer, longer)
    patch(path, LOCAL, 18, "<2I", longer, longer)
    assert "overlaps with another entry" in refusal(path)


@pytest.mark.parametrize("difference", [-1, 1, 1_000])
@pytest.mark.parametrize("follows", [False, True])
def test_a_size_that_is_not_the_real_one_is_refused(
    tmp_path: Path, difference: int, follows: bool
) -> None:
    """Both headers agree, or the local one leaves the sizes to what follows the data."""
    path = write(tmp_path / "set.zip", ("7/a.png", gray()))
    patch(path, CENTRAL, 24, "<I", len(gray()) + difference)
    if follows:
        patch(path, LOCAL, 6, "<H", 8)
    patch(path, LOCAL, 22, "<I", 0 if follows else len(gray()) + difference)
    assert "is not of the size that the zip declares" in refusal(path)


def test_a_small_size_that_hides_a_bomb_is_refused_without_unpacking_it(tmp_path: Path) -> None:
    path = write(tmp_path / "set.zip", ("7/a.png", bytes(300_000_000)))
    patch(path, CENTRAL, 24, "<I", 1_000)
    patch(path, LOCAL, 22, "<I", 1_000)
    assert "is not of the size that the zip declares" in refusal(path)


def test_a_stored_entry_of_two_sizes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "set.zip", ("7/a.png", gray()), method=ZIP_STORED)
    patch(path, CENTRAL, 24, "<I", len(gray()) + 5)
    patch(path, LOCAL, 22, "<I", len(gray()) + 5)
    assert "is not of the size that the zip declares" in refusal(path)


def test_headers_that_disagree_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "set.zip", ("7/a.png", gray()))
    patch(path, LOCAL, 22, "<I", 5)
    assert "two different sizes" in refusal(path)
    path = write(tmp_path / "set.zip", ("7/a.png", gray()))
    patch(path, LOCAL, 8, "<H", ZIP_STORED)
    assert "two different ways" in refusal(path)


def test_what_is_no_zip_is_told(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    for content in (b"", b"hello", write(path, ("7/a.png", gray())).read_bytes()[:-10]):
        path.write_bytes(content)
        with pytest.raises(SourceError, match="is not a zip that can be read"):
            open_zip(path)


def test_random_damage_is_never_more_than_a_clear_error(tmp_path: Path) -> None:
    path = write(tmp_path / "set.zip", *((f"{n}/a.png", gray(n)) for n in range(4)))
    whole, rng = path.read_bytes(), random.Random(1)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        with suppress(SourceError), open_zip(path) as source:
            list(source.samples())
