"""Labels of foreign classifiers, in the order of the outputs: files, mappings and metadata.

All of these name the same two classes:

    cat                 0 cat                 {"0": "cat", "1": "dog"}      ["cat", "dog"]
    dog                 1 dog                 {"id2label": {"0": "cat", "1": "dog"}}
"""

import json
import re
from pathlib import Path
from typing import Any, Final

from backend.inference.models import torchvision_compat
from training.package.model_spec import IMAGENET_CLASSES, PackageError

# The keys of a JSON object, or of an artifact's metadata, that hold its labels.
KEYS: Final = (
    "id2label",
    "names",
    "classes",
    "class_names",
    "labels",
    "label_names",
    "categories",
    "index_to_name",
    "idx_to_class",
    "class_to_idx",
    "label2id",
    "class_indices",
)
_MAX_SHOWN: Final = 5  # labels of one list in a message
_NUMBERED: Final = re.compile(r"\s*(?P<number>\d{1,6})(?:\s*[:,;=\t]\s*|\s+)(?P<name>\S.*)")
_NUMBERED_LAST: Final = re.compile(r"(?P<name>\S.*?)\s*[:,;=\t]\s*(?P<number>\d{1,6})")
_FORMATS: Final = (
    "accepted are one label per line, such as cat, 0 cat or cat,0, and JSON, such as "
    '["cat", "dog"] or {"0": "cat", "1": "dog"}'
)
_YAML: Final = re.compile(r"[\w-]+\s*:(\s*[\[{].*)?|-\s.*")  # a key without a text, or an item
_COLUMNS: Final = {".csv": ",;", ".tsv": "\t"}
_WORDNET: Final = re.compile(r"n\d{8}\s+(\S.*)")


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the labels in a text file, with one per line, or in a JSON file.

    Raise PackageError, which names the file, if it holds none, or one twice. ImageNet's 1,000
    labels contain two twice and are accepted.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PackageError(f"{path} is not a text file in UTF-8; save it as UTF-8") from error
    except OSError as error:
        raise PackageError(f"{path} cannot be read; pass an existing file with labels") from error
    try:
        if path.suffix == ".json" or text.lstrip()[:1] in ("{", "["):
            return _check(_parse_json(text))
        return _check(_parse_lines(text, _COLUMNS.get(path.suffix.lower(), "")))
    except PackageError as error:
        raise PackageError(f"{path}: {error}") from error


def parse_labels(value: Any) -> tuple[str, ...] | None:
    """Return the labels in a list or a mapping of metadata; None if it holds none.

    Raise PackageError if it holds labels that are empty or equal.
    """
    labels = _from_value(value)
    return None if labels is None else _check(labels)


def shorten(labels: tuple[str, ...]) -> str:
    """Return the number of labels and the first ones, for a message."""
    more = ", …" if len(labels) > _MAX_SHOWN else ""
    return f"{len(labels)} ({', '.join(labels[:_MAX_SHOWN])}{more})"


def default_labels(classes: int) -> tuple[str, ...]:
    """Return the ImageNet labels for 1,000 classes, else the class numbers."""
    if classes != IMAGENET_CLASSES:
        return tuple(map(str, range(classes)))
    models = torchvision_compat.load("models")
    return tuple(models.MobileNet_V2_Weights.DEFAULT.meta["categories"])


def _parse_json(text: str) -> list[str]:
    try:
        value = json.loads(text, object_pairs_hook=_to_dict)
    except RecursionError as error:
        raise PackageError("the JSON is nested too deeply") from error
    except ValueError as error:
        raise PackageError(f"the file is not valid JSON; {_FORMATS}") from error
    labels = _from_value(value)
    if labels is None:
        raise PackageError(f"the JSON is not a list of labels; {_FORMATS}")
    return labels


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise PackageError(f"the key {key!r} occurs twice")
        found[key] = value
    return found


def _from_value(value: Any) -> list[str] | None:
    """Return the labels in a decoded JSON value, also those below one of KEYS."""
    if isinstance(value, list | tuple):
        names = [_to_name(each) for each in value]
        return None if None in names or not names else [name or "" for name in names]
    if not isinstance(value, dict) or not value:
        return None
    for key in KEYS:
        if isinstance(value.get(key), dict | list | tuple):
            return _from_value(value[key])
    return _from_mapping(value)


def _from_mapping(value: dict[Any, Any]) -> list[str] | None:
    """Return the labels of {"0": "cat"} or {"cat": 0}; the numbers must be 0, 1, 2, …"""
    if all(isinstance(each, int) and not isinstance(each, bool) for each in value.values()):
        numbered = {number: str(name) for name, number in value.items()}
        if len(numbered) < len(value):
            raise PackageError("two labels have the same number")
    elif all(str(key).isdecimal() for key in value):
        names = {int(key): _to_name(name) for key, name in value.items()}
        if len(names) < len(value) or None in names.values():
            return None
        numbered = {number: name or "" for number, name in names.items()}
    else:
        return None
    missing = next((number for number in range(len(numbered)) if number not in numbered), None)
    if missing is not None:
        raise PackageError(f"{len(numbered)} labels are numbered, but number {missing} is missing")
    return [numbered[number] for number in range(len(numbered))]


def _to_name(value: Any) -> str | None:
    """Return a label: a text, or the last text of a list such as ["n01440764", "tench"]."""
    if isinstance(value, list | tuple) and value and all(isinstance(each, str) for each in value):
        value = value[-1]
    return value.strip() if isinstance(value, str) else None


def _parse_lines(text: str, separators: str) -> list[str]:
    """Return the labels in lines; raise PackageError for YAML, and for columns.

    `separators` are those of columns.
    """
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    for pattern in (_NUMBERED, _NUMBERED_LAST):
        numbered = [pattern.fullmatch(line) for line in lines]
        found = {int(match["number"]): match["name"].strip() for match in numbered if match}
        if len(found) == len(lines) > 0:
            first = min(found)
            if first <= 1 and sorted(found) == list(range(first, first + len(found))):
                return [found[number] for number in sorted(found)]
    wordnet = [_WORDNET.fullmatch(line) for line in lines]
    if lines and all(wordnet):
        return [match[1] for match in wordnet if match]
    if any(map(_YAML.fullmatch, lines)):
        raise PackageError(f"the file seems to be YAML; {_FORMATS}")
    if any(separator in line for line in lines for separator in separators):
        raise PackageError(
            "the file has columns that are not a label and its number in each line; remove a "
            f"header and other columns: {_FORMATS}"
        )
    return lines


def _check(labels: list[str]) -> tuple[str, ...]:
    if not labels:
        raise PackageError("there are no labels")
    if "" in labels:
        raise PackageError(f"label {labels.index('') + 1} is empty")
    if len(set(labels)) < len(labels) != IMAGENET_CLASSES:
        twice = next(label for n, label in enumerate(labels) if label in labels[:n])
        places = [n + 1 for n, label in enumerate(labels) if label == twice][:2]
        raise PackageError(
            f"the label {twice!r} occurs twice, at {places[0]} and {places[1]}; rename one of them"
        )
    return tuple(labels)
