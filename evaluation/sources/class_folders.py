"""Which of many paths are pictures, and which class each belongs to."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from evaluation.errors import SourceError
from evaluation.sources.base import Item
from evaluation.text import encodable

# Also of formats that a model may refuse: it says so itself, and the picture is listed.
PICTURES: Final = frozenset(
    f".{ending}"
    for ending in ("avif", "bmp", "gif", "heic", "jpe", "jpeg", "jpg", "png", "tif", "tiff", "webp")
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The pictures among some paths: `paths[i]` is where `items[i]` lies.

    `above` is the one folder above all the class folders, None where there is none.
    """

    paths: tuple[str, ...]
    items: tuple[Item, ...]
    notes: tuple[str, ...]
    above: str | None


def is_hidden(path: PurePosixPath) -> bool:
    """Whether it is a hidden file, or what macOS puts beside the files of a zip."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def is_picture(path: PurePosixPath) -> bool:
    """Whether it is to be classified, by its ending, and is not hidden."""
    return path.suffix.lower() in PICTURES and not is_hidden(path)


def arrange(name: str, paths: Iterable[str], *, labelled: bool) -> Layout:
    """Take the pictures among the relative `paths`, sorted; their label is the first folder.

    One common folder above all the class folders is passed over. Without labels every picture
    counts, wherever it lies. Raises SourceError where there is none.
    """
    visible = [(text, path) for text in sorted(paths) if not is_hidden(path := PurePosixPath(text))]
    pictures = [(text, path) for text, path in visible if is_picture(path)]
    notes = [_note(len(visible) - len(pictures), "files left out, not pictures")]
    above = None
    if labelled:
        first = _class_level([path for _, path in pictures])
        above = encodable(pictures[0][1].parts[0]) if first else None
        classed = [(text, path) for text, path in pictures if len(path.parts) > first + 1]
        notes.append(_note(len(pictures) - len(classed), "pictures left out, in no class folder"))
        kept = [(text, _item(path, path.parts[first])) for text, path in classed]
    else:
        kept = [(text, _item(path, None)) for text, path in pictures]
    if not kept:
        what = "no class folders with pictures, as 7/a.png" if labelled else "no pictures"
        raise SourceError(f"{name} holds {what}")
    places, items = zip(*kept, strict=True)
    return Layout(places, items, tuple(note for note in notes if note), above)


def _item(path: PurePosixPath, label: str | None) -> Item:
    return Item(encodable(str(path)), None if label is None else encodable(label))


def _class_level(paths: list[PurePosixPath]) -> int:
    """1 where all lie in one folder and two or more deep, as in digits/7/a.png; else 0."""
    deep = all(len(path.parts) > 2 for path in paths)
    return int(deep and len({path.parts[0] for path in paths}) == 1)


def _note(count: int, what: str) -> str:
    return f"{what}: {count:,}" if count else ""
