"""Sources of a job: every image is listed once, and its content is found again."""

import zipfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFile

from bulk.contents import Contents
from bulk.errors import ContentError, SourceError, StorageError
from bulk.listing import Image, Listing
from tests.bulk.fakes import write_tar
from tests.evaluation.fakes import write_files

FILES = {"a/1.png": b"one", "a/2.png": b"two" * 1000, "b/3.JPG": b"three"}


def contents(address: Path | str) -> dict[str, object]:
    """Return the content, or the error code, of every image of a source."""
    listing = Listing(str(address))
    found = [pair for chunk in Contents(listing.storage).chunks(list(listing)) for pair in chunk]
    paths = [image.path for image, _ in found]
    assert len(set(paths)) == len(paths)
    return {
        image.path: content.code if isinstance(content, ContentError) else content
        for image, content in found
    }


def test_folder_lists_images_at_any_depth(tmp_path: Path) -> None:
    write_files(tmp_path, {**FILES, "notes.txt": b"", ".hidden/4.png": b""})
    assert contents(tmp_path) == FILES


def test_file_name_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    (tmp_path / "\udcff.png").write_bytes(b"one")
    assert contents(tmp_path) == {"\udcff.png": b"one"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_entries_are_read_at_random(tmp_path: Path, method: int) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    assert contents(path) == FILES


def test_zip_entry_with_a_damaged_stream_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(5000))
        start = 30 + len("a.png")
    data = bytearray(path.read_bytes())
    data[start : start + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert contents(path) == {"a.png": "unreadable_file"}


def test_tar_members_are_read_at_random(tmp_path: Path) -> None:
    assert contents(write_tar(tmp_path / "0.tar", FILES)) == FILES


def test_class_file_of_a_shard_is_the_label_of_its_image(tmp_path: Path) -> None:
    files = {"1.cls": b"7\n", "1.jpg": b"one", "2.jpg": b"two", "2.cls": b"8", "3.jpg": b"three"}
    listing = Listing(str(write_tar(tmp_path / "0.tar", files)))
    assert {image.path: image.label for image in listing} == {
        "1.jpg": "7",
        "2.jpg": "8",
        "3.jpg": None,
    }


def test_folder_of_shards_lists_their_members(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", {"1.jpg": b"one"})
    write_tar(tmp_path / "1.tar", {"2.jpg": b"two"})
    assert contents(tmp_path) == {"1.jpg": b"one", "2.jpg": b"two"}
    assert contents(f"{tmp_path}/1*.tar") == {"2.jpg": b"two"}


def test_damaged_shard_among_others_is_one_row(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", {"1.jpg": b"one"})
    (tmp_path / "1.tar").write_bytes(b"not a tar" * 100)
    assert contents(tmp_path) == {"1.jpg": b"one", "1.tar": "damaged_archive"}


def test_truncated_tar_keeps_the_images_before_its_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", {"1.jpg": b"one", "2.jpg": b"two"})
    path.write_bytes(path.read_bytes()[:1500])
    assert contents(path) == {"1.jpg": b"one", "0.tar": "damaged_archive"}


def test_csv_of_paths(tmp_path: Path) -> None:
    write_files(tmp_path, {**FILES, "list.csv": b"path,label\na/1.png,x\nb/3.JPG,y\nno.png,\n"})
    assert contents(tmp_path / "list.csv") == {
        "a/1.png": b"one",
        "b/3.JPG": b"three",
        "no.png": "unreadable_file",
    }
    labels = [image.label for image in Listing(str(tmp_path / "list.csv"))]
    assert labels == ["x", "y", None]


@pytest.mark.parametrize("name", ["image", "bytes"])
def test_parquet_of_bytes(tmp_path: Path, name: str) -> None:
    path = tmp_path / "table.parquet"
    table = pa.table({"path": list(FILES), name: list(FILES.values()), "label": [0, 1, 2]})
    pq.write_table(table, path, row_group_size=2)
    assert contents(path) == FILES
    assert [image.label for image in Listing(str(path))] == ["0", "1", "2"]


def test_parquet_of_hugging_face(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    cells = [{"bytes": b"one", "path": None}, {"bytes": None, "path": None}]
    pq.write_table(pa.table({"image": cells}), path)
    assert contents(path) == {"0/0": b"one", "0/1": "unreadable_file"}


def test_parquet_of_paths(tmp_path: Path) -> None:
    write_files(tmp_path, FILES)
    pq.write_table(pa.table({"path": list(FILES)}), tmp_path / "table.parquet")
    assert contents(tmp_path / "table.parquet") == FILES


def test_prefix_behind_a_url() -> None:
    files = fsspec.filesystem("memory")
    for name, content in FILES.items():
        files.pipe_file(f"/bulk-listing/{name}", content)
    assert contents("memory://bulk-listing") == FILES


def test_table_of_urls(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/bulk-urls/1.png", b"one")
    table = tmp_path / "list.csv"
    table.write_text("path\nmemory://bulk-urls/1.png\nmemory://bulk-urls/2.png\n")
    assert contents(table) == {
        "memory://bulk-urls/1.png": b"one",
        "memory://bulk-urls/2.png": "unreadable_file",
    }
    table.write_text("path\nabfs://container/1.png\n")
    with pytest.raises(StorageError, match="pip install adlfs"):
        contents(table)


@pytest.mark.parametrize("name", ["0.tar", "0.zip", "0.parquet"])
def test_bucket_that_fails_amid_a_shard_is_no_damaged_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = write_tar(tmp_path / "0.tar", FILES)
    if name == "0.zip":
        with zipfile.ZipFile(path := tmp_path / name, "w") as archive:
            archive.writestr("1.png", b"one")
    elif name == "0.parquet":
        pq.write_table(pa.table({"image": [b"one"]}), path := tmp_path / name)
    fsspec.filesystem("memory").pipe_file(f"/bulk-failing/{name}/{name}", path.read_bytes())
    listing = Listing(f"memory://bulk-failing/{name}")
    images = list(listing)
    assert [image.container for image in images] == [name] * len(images)

    def fail(*_: object) -> bytes:
        raise OSError(5, "connection reset")

    monkeypatch.setattr(MemoryFile, "read", fail)
    with pytest.raises(StorageError, match="does not respond"):
        list(Listing(f"memory://bulk-failing/{name}/{name}"))
    if name == "0.parquet":
        with pytest.raises(StorageError, match="does not respond"):
            list(Contents(listing.storage).chunks(images))


def test_tasks_share_the_images(tmp_path: Path) -> None:
    write_files(tmp_path, {f"{index}.png": b"" for index in range(50)})
    (tmp_path / "\udcff.png").write_bytes(b"")  # no UTF-8
    write_tar(tmp_path / "0.tar", {f"{index}.jpg": b"" for index in range(50)})
    found: list[Image] = []
    for task in range(3):
        own = list(Listing(str(tmp_path), task=task, tasks=3))
        assert len(own) < 101
        found += own
    assert len(found) == len(set(found)) == 101


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "does not exist"),
        ("x.tar.gz", "decompress it"),
        ("notes.docx", "not a supported source"),
        ("no*.tar", "matches no files"),
    ],
)
def test_unusable_source_says_why(tmp_path: Path, name: str, message: str) -> None:
    write_files(tmp_path, {"x.tar.gz": b"", "notes.docx": b""})
    with pytest.raises(SourceError, match=message):
        Listing(str(tmp_path / name))


def test_missing_package_of_a_url_is_named() -> None:
    with pytest.raises(StorageError, match="pip install adlfs"):
        Listing("abfs://container/images")
