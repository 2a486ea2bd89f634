"""A CSV of paths and labels; the paths are relative to it and stay below its folder."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from evaluation.errors import SourceError
from evaluation.sources.folder import is_below, read_file
from evaluation.sources.base import Item, Source

PATHS: Final = ("path", "file", "filename", "image", "picture", "name")
LABELS: Final = ("label", "class", "target", "category")
_DELIMITERS: Final = ",;\t"


def open_table(path: Path) -> Source:
    """Read the CSV at `path`: one line per picture, under a header such as `path,label`.

    Raises SourceError, naming the line, where a column is missing, a path leads out of the CSV's
    folder or stands there twice, or a label is empty.
    """
    root = path.parent.resolve()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            items = list(_items(path, io.StringIO(file.read(), newline=""), root))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not text in UTF-8; save it as such") from error
    except csv.Error as error:
        raise SourceError(f"{path} is not a CSV: {error}") from error
    if not items:
        raise SourceError(f"{path} holds no line below its header")

    def read(index: int) -> bytes:
        return read_file(root / items[index].name)

    return Source(path.name, items, read)


def _items(path: Path, text: io.StringIO, root: Path) -> Iterator[Item]:
    header = text.readline()
    text.seek(0)
    rows = csv.reader(text, delimiter=max(_DELIMITERS, key=header.count), strict=True)
    names = [name.strip().lower() for name in next(rows, [])]
    where, what = _column(path, names, PATHS), _column(path, names, LABELS)
    seen: dict[str, Item] = {}
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        line = f"{path}, line {rows.line_num}"
        if len(row) <= max(where, what):
            raise SourceError(f"{line}: {len(row)} columns, but the header has {len(names)}")
        name, label = row[where].strip(), row[what].strip()
        if not name or not label:
            raise SourceError(f"{line}: the {'path' if label else 'label'} is empty")
        if "\0" in name:
            raise SourceError(f"{line}: {name!r} has a NUL in it, as no path has")
        if not is_below(root, root / name):
            raise SourceError(f"{line}: {name!r} leads out of the folder of the CSV")
        item = Item(name, label)
        first = seen.setdefault(os.path.normpath(name), item)
        if first is not item:
            raise SourceError(f"{line}: {name} stands there twice{_difference(first, item)}")
        yield item


def _difference(first: Item, second: Item) -> str:
    spelled = "" if first.name == second.name else f", before as {first.name}"
    if first.label == second.label:
        return spelled
    return f"{spelled}, with the labels {first.label!r} and {second.label!r}"


def _column(path: Path, names: Sequence[str], wanted: Sequence[str]) -> int:
    found = next((name for name in wanted if name in names), None)
    if found is None:
        raise SourceError(
            f"{path}: no column is called {wanted[0]}; the first line names the columns, "
            "as path,label"
        )
    return names.index(found)
