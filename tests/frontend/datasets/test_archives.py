"""Uploads into pictures."""

import errno
import io
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from frontend.datasets import archives
from frontend.datasets.images import Picture
from frontend.service.errors import Problem
from tests.frontend.app import zipped
from tests.pictures import encoded, seven

SEVEN = encoded(seven())


@dataclass
class File:
    name: str
    content: bytes

    def getvalue(self) -> bytes:
        return self.content


def unpack(*files: File) -> tuple[list[Picture], list[Problem]]:
    return archives.together(map(archives.take, files))


def refusal(content: bytes) -> str:
    taken, (problem,) = unpack(File("mine.zip", content))
    assert not taken
    assert problem.advice
    return problem.what


def test_files_and_the_pictures_of_zips_are_taken_together() -> None:
    content = zipped(**{"b/two.png": SEVEN, "b/notes.txt": b"x", "__MACOSX/b/._two.png": b"x"})
    taken, problems = unpack(File("one.png", SEVEN), File("more.ZIP", content))
    assert [(one.name, one.content) for one in taken] == [("one.png", SEVEN), ("b/two.png", SEVEN)]
    assert not problems


def test_a_file_that_is_damaged_within_its_zip_fails_alone() -> None:
    content = bytearray(zipped(**{"a.png": b"intact", "b.png": b"harmed"}))
    content[content.index(b"harmed")] ^= 1
    (good, bad), problems = unpack(File("mine.zip", bytes(content)))
    assert (good.content, good.fault) == (b"intact", None)
    assert bad.name == "b.png"
    assert bad.fault == "The file is damaged within the zip."
    assert not problems


def test_a_zip_that_leads_elsewhere_is_refused_by_its_name_and_the_others_are_taken() -> None:
    evil = File("evil.zip", zipped(**{"../../a.png": SEVEN}))
    taken, (problem,) = unpack(evil, File("b.png", SEVEN))
    assert [one.name for one in taken] == ["b.png"]
    assert problem.what == "The zip evil.zip is not opened: '../../a.png' leads out of the zip."


def test_a_zip_bomb_is_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(40_000_000))
    assert "more than 200 times its packed size" in refusal(out.getvalue())


@pytest.mark.parametrize("content", [b"", b"no zip at all", zipped(**{"a.png": SEVEN})[:-30]])
def test_what_is_no_zip_is_said_to_be_none(content: bytes) -> None:
    assert refusal(content) == "mine.zip is not a zip that can be read."


def test_a_zip_without_pictures_is_said_to_have_none() -> None:
    assert refusal(zipped(**{"notes.txt": b"x"})) == "The zip mine.zip holds no pictures."


def test_a_full_disk_is_told_and_leaves_nothing_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", full)
    taken, (problem,) = unpack(File("mine.zip", zipped(**{"a.png": SEVEN})), File("b.png", SEVEN))
    assert [one.name for one in taken] == ["b.png"]
    assert problem.what == "There is no room here to open mine.zip at the moment."
    assert not list(tmp_path.iterdir())


def test_too_many_pictures_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_PICTURES", 2)
    many = [File(f"{i}.png", SEVEN) for i in range(3)]
    taken, (problem,) = unpack(*many)
    assert not taken
    assert "These are 3 pictures" in problem.what
    assert "at once 2" in problem.what
    assert "holds 3 pictures; at once 2 can be taken" in refusal(
        zipped(**{file.name: SEVEN for file in many})
    )


def test_too_many_bytes_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 3_000_000)
    taken, (problem,) = unpack(*[File(f"{i}.png", bytes(2_000_000)) for i in range(2)])
    assert not taken
    assert problem.what == ("These are 2 pictures of 4 MB; at once 10,000 of 3 MB can be taken.")
