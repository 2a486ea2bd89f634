"""Uploaded datasets: storing, sharing and rejecting."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

from evaluation.errors import SourceError
from frontend.datasets.dataset import Dataset, store_folder, store_zip
from frontend.state import memory
from tests.images import SEVEN, sevens, zipped


@dataclass
class SentFile:
    """A file as the browser sends it."""

    name: str
    content: bytes = SEVEN

    def getbuffer(self) -> memoryview:
        return memoryview(self.content)


def files(*names: str) -> Sequence[SentFile]:
    return [SentFile(name) for name in names]


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of temporary_folder files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def items(data: Dataset) -> list[tuple[str, str | None]]:
    return [(item.name, item.label) for item in data.source.items]


def test_zip_keeps_its_name() -> None:
    data = store_zip(SentFile("my digits.zip", sevens(2, labeled_one=1)))
    assert data.name == "my digits.zip"
    assert sorted(data.source.labels) == ["1", "7"]
    data.close()


def test_folder_accepts_unusual_file_names() -> None:
    data = store_folder(files("digits/7/ä b.png", "digits/7/x/y.png", "digits/1/%s.png"))
    assert data.name == "digits"
    assert items(data) == [("1/%s.png", "1"), ("7/x/y.png", "7"), ("7/ä b.png", "7")]
    data.close()


def test_image_outside_the_class_folders_is_skipped() -> None:
    data = store_folder(files("digits/stray.png", "digits/7/a.png"))
    assert items(data) == [("7/a.png", "7")]
    assert data.source.notes == ("images skipped (not in a class folder): 1",)
    data.close()


def test_single_class_folder_is_one_class() -> None:
    data = store_folder(files("7/a.png", "7/b.png"))
    assert items(data) == [("7/a.png", "7"), ("7/b.png", "7")]
    data.close()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", "“x.zip” is not a readable zip"),
        (zipped({}), "“x.zip” contains no class folders with images, such as 7/a.png"),
        (zipped({"a.png": SEVEN}), "“x.zip” contains no class folders"),
        (zipped({"7/a.txt": b"text"}), "“x.zip” contains no class folders"),
        (zipped({"../7/a.png": SEVEN}), "leads out of the zip"),
        (zipped({"7/a.png": bytes(60_000_000)}), "60,000,000 bytes; the limit is 50,000,000"),
    ],
)
def test_invalid_zip_is_rejected_and_deleted(
    temporary_folder: Path, content: bytes, message: str
) -> None:
    with pytest.raises(SourceError) as error:
        store_zip(SentFile("x.zip", content))
    assert message in str(error.value)
    assert str(temporary_folder) not in str(error.value)
    assert not list(temporary_folder.iterdir())


def test_zip_with_a_false_size_is_rejected(temporary_folder: Path) -> None:
    valid = zipped({"7/a.png": SEVEN})
    size = len(SEVEN).to_bytes(4, "little")
    with pytest.raises(SourceError, match=r"“x\.zip” was rejected"):
        store_zip(SentFile("x.zip", valid.replace(size, (len(SEVEN) + 1).to_bytes(4, "little"))))
    assert not list(temporary_folder.iterdir())


@pytest.mark.parametrize("names", [["a/../7/x.png"], ["/etc/7/x.png"], ["d/7/x.png", "d/7/x.png"]])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_folder_with_path_traversal_or_duplicates_is_rejected(
    temporary_folder: Path, names: list[str]
) -> None:
    with pytest.raises(SourceError, match="was rejected: "):
        store_folder(files(*names, "d/7/other.png"))
    assert not list(temporary_folder.iterdir())


def test_dataset_is_deleted_when_the_last_user_closes_it(temporary_folder: Path) -> None:
    data = store_zip(SentFile("x.zip", sevens(1)))
    other = data.share()
    data.close()
    assert other.thumbnail("7/00000.png") is not None
    other.close()
    assert not list(temporary_folder.iterdir())
    with pytest.raises(SourceError, match="upload it again"):
        data.share()


def test_unreadable_image_has_no_thumbnail() -> None:
    data = store_zip(SentFile("x.zip", sevens(1, broken=1)))
    assert (data.thumbnail("7/00000.png") or "").startswith("data:image/png;base64,")
    assert data.thumbnail("7/broken0.png") is None
    assert data.thumbnail("nowhere.png") is None
    data.close()
    assert data.thumbnail("7/00001.png") is None


def test_file_names_of_the_client_are_not_used_on_disk(temporary_folder: Path) -> None:
    data = store_folder(files("d/7/evil.png"))
    (stored,) = (path for path in temporary_folder.rglob("*") if path.is_file())
    assert stored.name == "upload.zip"
    assert ZipFile(stored).namelist() == ["7/evil.png"]
    data.close()


def test_dataset_is_rejected_without_free_memory(
    temporary_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda _: memory.RESERVE)
    message = "the server's memory or disk may be full"
    with pytest.raises(SourceError, match=message):
        store_zip(SentFile("mine.zip", zipped({"7/a.png": SEVEN})))
    with pytest.raises(SourceError, match=message):
        store_folder(files("digits/7/a.png"))
    assert not list(temporary_folder.iterdir())
