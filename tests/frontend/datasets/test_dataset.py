"""Labelled pictures that were uploaded: kept, shared, refused in words."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

from evaluation.errors import SourceError
from frontend.datasets.dataset import Labelled, keep_folder, keep_zip
from tests.labelled import SEVEN, sevens, zipped


@dataclass
class Sent:
    """A file as the browser sends it."""

    name: str
    content: bytes = SEVEN

    def getbuffer(self) -> memoryview:
        return memoryview(self.content)


def folder(*names: str) -> Sequence[Sent]:
    return [Sent(name) for name in names]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where uploads are kept."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def items(data: Labelled) -> list[tuple[str, str | None]]:
    return [(item.name, item.label) for item in data.source.items]


def test_a_zip_is_kept_under_the_name_it_was_uploaded_by() -> None:
    data = keep_zip(Sent("my digits.zip", sevens(2, called_one=1)))
    assert data.name == "my digits.zip"
    assert sorted(data.source.labels) == ["1", "7"]
    data.close()


def test_a_folder_is_kept_whatever_the_files_are_called() -> None:
    data = keep_folder(folder("digits/7/ä b.png", "digits/7/x/y.png", "digits/1/%s.png"))
    assert data.name == "digits"
    assert items(data) == [("1/%s.png", "1"), ("7/x/y.png", "7"), ("7/ä b.png", "7")]
    data.close()


def test_a_picture_beside_the_class_folders_takes_no_class_away() -> None:
    data = keep_folder(folder("digits/stray.png", "digits/7/a.png"))
    assert items(data) == [("7/a.png", "7")]
    assert data.source.notes == ("pictures left out, in no class folder: 1",)
    data.close()


def test_a_class_folder_alone_is_one_class() -> None:
    data = keep_folder(folder("7/a.png", "7/b.png"))
    assert items(data) == [("7/a.png", "7"), ("7/b.png", "7")]
    data.close()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no zip", "“x.zip” is not a zip that can be read"),
        (zipped({}), "“x.zip” holds no class folders with pictures, as 7/a.png"),
        (zipped({"a.png": SEVEN}), "“x.zip” holds no class folders"),
        (zipped({"7/a.txt": b"text"}), "“x.zip” holds no class folders"),
        (zipped({"../7/a.png": SEVEN}), "leads out of the zip"),
        (zipped({"7/a.png": bytes(60_000_000)}), "60,000,000 bytes; 50,000,000 are allowed"),
    ],
)
def test_a_zip_that_cannot_be_used_is_refused_and_not_kept(
    temporary: Path, content: bytes, says: str
) -> None:
    with pytest.raises(SourceError) as refused:
        keep_zip(Sent("x.zip", content))
    assert says in str(refused.value)
    assert str(temporary) not in str(refused.value)
    assert not list(temporary.iterdir())


def test_a_zip_that_lies_about_a_size_is_refused(temporary: Path) -> None:
    honest = zipped({"7/a.png": SEVEN})
    size = len(SEVEN).to_bytes(4, "little")
    with pytest.raises(SourceError, match=r"“x\.zip” is refused"):
        keep_zip(Sent("x.zip", honest.replace(size, (len(SEVEN) + 1).to_bytes(4, "little"))))
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("names", [["a/../7/x.png"], ["/etc/7/x.png"], ["d/7/x.png", "d/7/x.png"]])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_folder_with_names_that_lead_elsewhere_or_collide_is_refused(
    temporary: Path, names: list[str]
) -> None:
    with pytest.raises(SourceError, match="is refused: "):
        keep_folder(folder(*names, "d/7/other.png"))
    assert not list(temporary.iterdir())


def test_pictures_stay_until_the_last_who_needs_them_is_done(temporary: Path) -> None:
    data = keep_zip(Sent("x.zip", sevens(1)))
    other = data.share()
    data.close()
    assert other.small("7/00000.png") is not None
    other.close()
    assert not list(temporary.iterdir())
    with pytest.raises(SourceError, match="upload them again"):
        data.share()


def test_what_cannot_be_shown_has_no_small_picture() -> None:
    data = keep_zip(Sent("x.zip", sevens(1, broken=1)))
    assert (data.small("7/00000.png") or "").startswith("data:image/png;base64,")
    assert data.small("7/broken0.png") is None
    assert data.small("nowhere.png") is None
    data.close()
    assert data.small("7/00001.png") is None


def test_nothing_is_written_under_the_names_of_the_client(temporary: Path) -> None:
    data = keep_folder(folder("d/7/evil.png"))
    (kept,) = (path for path in temporary.rglob("*") if path.is_file())
    assert kept.name == "upload.zip"
    assert ZipFile(kept).namelist() == ["7/evil.png"]
    data.close()
