"""Examples from the sources of `evaluation`: folders, zips, CSV files and history exports."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from calibration.apply import NONE_OF_THESE
from evaluation.sources import open_source
from evaluation.sources.base import Item, Source
from evaluation.sources.class_folders import UNLABELED_FOLDERS, is_hidden
from evaluation.types import Sample
from teach.dataset import check_counts, clean_label, list_names
from teach.errors import TeachError
from teach.limits import MAX_IMAGES
from teach.types import Example

# The folder of a history export, or of a user, with images of none of the classes.
NONE_FOLDERS: Final = frozenset({"none_of_these", "none of these"})


class SourceExamples(Collection[Example]):
    """The images of a source, read one at a time; a file that cannot be read has no content."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[Example]:
        for sample in self._source.samples():
            content = sample.content if isinstance(sample, Sample) else b""
            yield Example(sample.label or "", content, sample.name)

    def __contains__(self, example: object) -> bool:
        return any(example == each for each in self)


def open_examples(path: Path, split: str = "train") -> Source:
    """Open a labeled source whose classes can be taught; close it.

    Images in a class folder `none_of_these` get the label NONE_OF_THESE. Raise SourceError if the
    source cannot be read, and TeachError if its classes or their number of images do not suffice.
    """
    source = open_source(path, split=split)
    try:
        source = _note_empty_folders(source, path)
        if any("none_of_these" in note for note in source.notes):
            source = _with_none_folder(source, open_source(path, labeled=False))
        source = replace(source, items=[_clean(item) for item in source.items])
        if len(source) > MAX_IMAGES:
            raise TeachError(
                f"{source.name} has {len(source):,} images; the limit is {MAX_IMAGES:,}. Use a "
                "part of them: a hundred of each class are enough."
            )
        check_counts(item.label or "" for item in source.items)
    except BaseException:
        source.close()
        raise
    return source


def _note_empty_folders(source: Source, path: Path) -> Source:
    """Return `source` with a note of the class folders in the folder `path` without images."""
    parent = path / (source.skipped_folder or "")
    if not parent.is_dir():
        return source
    used = {
        PurePosixPath(item.name).parts[source.skipped_folder is not None] for item in source.items
    }
    empty = sorted(
        each.name
        for each in parent.iterdir()
        if each.is_dir()
        and each.name not in {*used, *UNLABELED_FOLDERS}
        and not is_hidden(PurePosixPath(each.name))
    )
    if not empty:
        return source
    return replace(
        source, notes=(*source.notes, f"class folders without images: {list_names(empty)}")
    )


def _with_none_folder(labeled: Source, everything: Source) -> Source:
    """Return `labeled` with the images of the folder `none_of_these` as one more class."""
    level = 0 if labeled.skipped_folder is None else 1
    others = [
        index
        for index, item in enumerate(everything.items)
        if (parts := PurePosixPath(item.name).parts)[level:-1] and parts[level] == "none_of_these"
    ]
    known = len(labeled)
    items = [*labeled.items, *(Item(everything.items[i].name, NONE_OF_THESE) for i in others)]

    def read(index: int) -> bytes:
        if index < known:
            return labeled.read(index)
        return everything.read(others[index - known])

    def close() -> None:
        labeled.close()
        everything.close()

    return replace(labeled, items=items, read=read, close=close)


def _clean(item: Item) -> Item:
    label = clean_label(item.label or "")
    return Item(item.name, NONE_OF_THESE if label.casefold() in NONE_FOLDERS else label)
