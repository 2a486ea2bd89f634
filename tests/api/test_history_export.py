"""Names of folders and files in an export of images, and its memory."""

import csv
import io
import zipfile
from collections.abc import Iterator
from typing import Any, cast

import pytest

from backend.api.history_export import export_csv, export_images, folder_name
from backend.history.record import StoredRecord, make_feedback
from tests.formula_cells import FORMULAS, PLAIN_TEXT
from tests.history.records import make_record

LABELS = ["7", "tabby cat", "naïve 猫", "a/b", "a_b", "..", ".", "", " ", "a.", ".a", "CON",
          "con.x", "a:b", "a\\b", "a\n", "none_of_these", "unlabeled", "Unlabeled", "__MACOSX",
          60 * "猫", 61 * "猫"]  # fmt: skip


def stored(label: str | None, **fields: Any) -> StoredRecord:
    """Return a record that was corrected to `label`."""
    return cast(StoredRecord, {**make_record(**fields), **make_feedback(label)})


def entries(*records: StoredRecord) -> list[str]:
    content = b"".join(export_images([[(one, b"webp") for one in records]]))
    return zipfile.ZipFile(io.BytesIO(content)).namelist()


def test_folder_names_are_valid_and_unique() -> None:
    names = [folder_name(label) for label in LABELS]
    assert names[:3] == LABELS[:3]
    assert len({name.lower() for name in names}) == len(LABELS)
    for name in names:
        assert name.strip(". ") == name
        assert not set(name) & set('<>:"/\\|?*\n')
        assert 0 < len(name.encode()) < 200
        assert name.lower() not in {"con", "con.x", "none_of_these", "unlabeled", "__macosx"}


@pytest.mark.parametrize(
    ("filename", "stem"),
    [("a.b.png", "a.b"), (None, "image"), ("", "image"), ("/", "image"), ("C:\\x\\y.png", "C__x_y"),
     ("../../etc/passwd", "passwd"), (".png", "png"), (300 * "猫" + ".png", 33 * "猫")],
)  # fmt: skip
def test_file_names_are_valid(filename: str | None, stem: str) -> None:
    record = stored("7", filename=filename)
    assert entries(record) == [f"7/{stem}_{record['id']}.webp"]


def test_same_file_name_twice_is_exported_twice() -> None:
    assert len(set(entries(*(stored("7", filename="a.png") for _ in range(3))))) == 3


def test_zip_is_sent_page_by_page() -> None:
    def pages() -> Iterator[list[tuple[StoredRecord, bytes]]]:
        for _ in range(3):
            yield [(stored("7"), bytes(10_000))]

    chunks = list(export_images(pages()))
    assert len(chunks) == 4
    assert all(10_000 < len(chunk) < 10_500 for chunk in chunks[:3])
    assert zipfile.ZipFile(io.BytesIO(b"".join(chunks))).testzip() is None


TEXT_COLUMNS = ("filename", "prediction", "correction", "correction_model", "model", "version")


def csv_row(**fields: Any) -> dict[str, str]:
    """Return the row of a record in the CSV export."""
    record = cast(StoredRecord, {**stored(None), **fields})
    return next(csv.DictReader(io.StringIO("".join(export_csv([[record]])), newline="")))


@pytest.mark.parametrize("column", TEXT_COLUMNS)
def test_formulas_are_escaped_in_every_text_column(column: str) -> None:
    for text in FORMULAS:
        assert csv_row(**{column: text})[column] == f"'{text}"
    for text in PLAIN_TEXT:
        assert csv_row(**{column: text})[column] == text


def test_numbers_are_not_escaped() -> None:
    assert csv_row(ood_score=-0.5)["ood_score"] == "-0.5"
