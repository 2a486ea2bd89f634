"""Reading images from uploads."""

import errno
import io
import random
import tempfile
import tracemalloc
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from frontend.datasets import archives
from frontend.service.predictions import ImageFile
from frontend.state import memory
from frontend.ui.alerts import Problem
from tests.frontend.app import zipped
from tests.images import encoded, seven

SEVEN = encoded(seven())
FULL = "The server does not have enough memory or disk space to open mine.zip."


@dataclass
class File:
    """An uploaded file."""

    name: str
    content: bytes

    def getvalue(self) -> bytes:
        return self.content


def extract(*files: File) -> tuple[list[ImageFile], list[Problem]]:
    return archives.combine(map(archives.extract, files))


def rejection(content: bytes) -> str:
    images, (problem,) = extract(File("mine.zip", content))
    assert not images
    assert problem.advice
    return problem.message


def test_files_and_zip_contents_are_combined() -> None:
    content = zipped(**{"b/two.png": SEVEN, "b/notes.txt": b"x", "__MACOSX/b/._two.png": b"x"})
    images, problems = extract(File("one.png", SEVEN), File("more.ZIP", content))
    assert [(image.name, image.content) for image in images] == [
        ("one.png", SEVEN),
        ("b/two.png", SEVEN),
    ]
    assert not problems


def test_damaged_file_in_a_zip_fails_alone() -> None:
    content = bytearray(zipped(**{"a.png": b"intact", "b.png": b"harmed"}))
    content[content.index(b"harmed")] ^= 1
    (good, bad), problems = extract(File("mine.zip", bytes(content)))
    assert (good.content, good.error) == (b"intact", None)
    assert bad.name == "b.png"
    assert bad.error == "The file is damaged inside the zip."
    assert not problems


def test_zip_with_path_traversal_is_rejected_alone() -> None:
    evil = File("evil.zip", zipped(**{"../../a.png": SEVEN}))
    images, (problem,) = extract(evil, File("b.png", SEVEN))
    assert [image.name for image in images] == ["b.png"]
    assert problem.message == "The zip evil.zip was rejected: '../../a.png' leads out of the zip."


def test_zip_bomb_is_rejected() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(40_000_000))
    assert "more than 200 times its compressed size" in rejection(out.getvalue())


@pytest.mark.parametrize("content", [b"", b"no zip at all", zipped(**{"a.png": SEVEN})[:-30]])
def test_invalid_zip_is_rejected(content: bytes) -> None:
    assert rejection(content) == "mine.zip is not a readable zip."


def test_zip_without_images_is_rejected() -> None:
    assert rejection(zipped(**{"notes.txt": b"x"})) == "The zip mine.zip contains no images."


def test_full_disk_is_reported_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_disk_full(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", raise_disk_full)
    images, (problem,) = extract(File("mine.zip", zipped(**{"a.png": SEVEN})), File("b.png", SEVEN))
    assert [image.name for image in images] == ["b.png"]
    assert (
        problem.message == "The server does not have enough memory or disk space to open mine.zip."
    )
    assert not list(tmp_path.iterdir())


def test_too_many_images_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_IMAGES", 2)
    files = [File(f"{i}.png", SEVEN) for i in range(3)]
    images, (problem,) = extract(*files)
    assert not images
    assert "has 3 images" in problem.message
    assert "the limit is 2 images" in problem.message
    assert "contains 3 images; the limit is 2" in rejection(
        zipped(**{file.name: SEVEN for file in files})
    )


def test_too_many_bytes_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 3_000_000)
    images, (problem,) = extract(*[File(f"{i}.png", bytes(2_000_000)) for i in range(2)])
    assert not images
    assert problem.message == (
        "The upload has 2 images (4 MB); the limit is 10,000 images and 3 MB."
    )


def test_many_small_zeros_are_rejected() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20):
            archive.writestr(f"{number}.png", bytes(990_000))
    assert "it inflates to more than 200 times its compressed size" in rejection(out.getvalue())


def test_zip_remains_compressed() -> None:
    """Each image of 1 MB, of which 10 kB are random, compresses to a hundredth."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(40):
            content = random.Random(number).randbytes(10_000) + bytes(990_000)
            archive.writestr(f"{number:02d}.png", content)
    tracemalloc.start()
    images, problems = extract(File("mine.zip", out.getvalue()))
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not problems
    assert held < 2_000_000
    assert peak < 10_000_000
    assert sum(image.size for image in images) == 40_000_000
    assert sum(image.stored_size for image in images) < 1_000_000
    assert images[7].content == random.Random(7).randbytes(10_000) + bytes(990_000)
    assert images[7].digest == ImageFile("", images[7].content).digest


def test_zip_is_closed_with_its_last_image() -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    images, _ = extract(File("mine.zip", zipped(**{"a.png": SEVEN, "b.png": SEVEN})))
    assert open_files() == before + 1
    images.pop()
    assert images[0].content == SEVEN
    images.clear()
    assert open_files() == before


def test_zip_is_rejected_without_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda _: memory.RESERVE)
    assert rejection(zipped(**{"a.png": SEVEN})) == FULL


def test_upload_of_more_than_its_share_of_memory_is_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda _: 4_000_000)
    images, (problem,) = extract(File("a.png", bytes(2_000_000)))
    assert not images
    assert problem.message == "The upload takes 2 MB; the limit is 1 MB."


def test_image_that_is_too_large_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_IMAGE_BYTES", 1_000_000)
    (large, good), problems = extract(File("a.png", bytes(1_000_001)), File("b.png", SEVEN))
    assert (large.content, large.error) == (b"", "This file is larger than 1 MB.")
    assert good.error is None
    assert not problems


def test_too_many_zips_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ZIPS", 2)
    assert archives.reject_many_zips(["a.zip", "b.png", "c.ZIP"]) is None
    problem = archives.reject_many_zips(["a.zip", "b.zip", "c.ZIP"])
    assert problem is not None
    assert problem.message == "The upload has 3 zips; the limit is 2."


def test_too_many_zips_that_were_added_one_by_one_are_rejected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archives, "MAX_ZIPS", 1)
    file = File("mine.zip", zipped(**{"a.png": SEVEN}))
    assert extract(file)[1] == []
    images, (problem,) = extract(file, file)
    assert not images
    assert problem.message == "The upload has more than 1 zips."
