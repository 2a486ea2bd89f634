"""A CSV file of paths and labels; the paths are relative to it and stay inside its folder."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from evaluation.errors import SourceError
from evaluation.sources.base import Item, Source
from evaluation.sources.class_folders import is_inside, read_file

PATH_COLUMNS: Final = ("path", "file", "filename", "image", "picture", "name")
LABEL_COLUMNS: Final = ("label", "class", "target", "category")
# Of a multi-label model: the labels in a cell are separated by ; or |, and there may be none.
SET_COLUMNS: Final = ("labels", "classes", "tags")
_DELIMITERS: Final = ",;\t"


def open_csv(path: Path) -> Source:
    """Open the CSV file at `path`: a header such as `path,label` and one row per image.

    Raise SourceError, with the line number, if a column is missing, a path leads out of the folder
    or is repeated, or a label is empty. A column `labels` has sets of labels: cells may be empty.
    """
    root = path.parent.resolve()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            items = list(_read_items(path, io.StringIO(file.read(), newline=""), root))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not encoded as UTF-8") from error
    except csv.Error as error:
        raise SourceError(f"{path} is not a valid CSV file: {error}") from error
    if not items:
        raise SourceError(f"{path} has no rows below its header")

    def read(index: int) -> bytes:
        return read_file(root / items[index].name)

    return Source(path.name, items, read)


def _read_items(path: Path, text: io.StringIO, root: Path) -> Iterator[Item]:
    header = text.readline()
    text.seek(0)
    rows = csv.reader(text, delimiter=max(_DELIMITERS, key=header.count), strict=True)
    columns = [name.strip().lower() for name in next(rows, [])]
    path_column = _find_column(path, columns, PATH_COLUMNS)
    label_column = _find_column(path, columns, (*LABEL_COLUMNS, *SET_COLUMNS))
    has_sets = columns[label_column] in SET_COLUMNS
    by_path: dict[str, Item] = {}
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        line = f"{path}, line {rows.line_num}"
        if len(row) <= max(path_column, label_column):
            raise SourceError(f"{line}: {len(row)} columns, but the header has {len(columns)}")
        name, label = row[path_column].strip(), row[label_column].strip()
        if not name or not (label or has_sets):
            raise SourceError(f"{line}: the {'path' if label else 'label'} is empty")
        if "\0" in name:
            raise SourceError(f"{line}: {name!r} contains a NUL character")
        if not is_inside(root, root / name):
            raise SourceError(f"{line}: {name!r} leads out of the folder of the CSV file")
        item = Item(name, label)
        first = by_path.setdefault(os.path.normpath(name), item)
        if first is not item:
            raise SourceError(f"{line}: {name} is listed twice{_describe_difference(first, item)}")
        yield item


def _describe_difference(first: Item, second: Item) -> str:
    spelling = "" if first.name == second.name else f", first as {first.name}"
    if first.label == second.label:
        return spelling
    return f"{spelling}, with the labels {first.label!r} and {second.label!r}"


def _find_column(path: Path, columns: Sequence[str], names: Sequence[str]) -> int:
    for name in names:
        if name in columns:
            return columns.index(name)
    raise SourceError(
        f"{path} has no column {names[0]!r}; the first line must name the columns, "
        "such as path,label"
    )
