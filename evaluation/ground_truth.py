"""Ground truth: the label of the model that each class of a source names."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Final

from evaluation.errors import LabelError
from evaluation.label_sets import join_labels, require_separable, split_labels
from evaluation.sources.base import Item, Source

MAX_NAMED: Final = 3  # labels in a message
_WORDNET_ID: Final = re.compile(r"(n\d{8})(?![0-9a-zA-Z])")
_SEPARATOR: Final = re.compile(r"(?<=\w)[_-](?=\w)")


def match_labels(
    source: Source,
    labels: Sequence[str],
    label_ids: Sequence[str] | None = None,
    *,
    several: bool = False,
) -> Source:
    """Return the source with the model's `labels` in place of the names of its classes.

    A class may be named by a label (case, underscores and hyphens do not matter), by the WordNet ID
    of a label in `label_ids` (also with a text after it, as in `n02085620-Chihuahua`), or by the
    index of a label if all classes of the source are. With `several`, for a multi-label model, a
    name is a set of these, separated by semicolons or bars. Raise LabelError if a class has no
    label.
    """
    if several:
        return _match_sets(source, labels, label_ids)
    names = source.labels
    matches, notes = _match_all(names, labels, label_ids)
    if unknown := names - matches.keys():
        raise LabelError(unknown_labels_message(unknown, labels, label_ids) + _hint(source, labels))
    if all(name == label for name, label in matches.items()):
        return source
    items = [
        Item(item.name, None if item.label is None else matches[item.label])
        for item in source.items
    ]
    return replace(source, items=items, notes=(*source.notes, *notes))


def _match_sets(source: Source, labels: Sequence[str], label_ids: Sequence[str] | None) -> Source:
    require_separable(labels)
    sets = {text: split_labels(text) for text in source.labels}
    names = {name for each in sets.values() for name in each}
    matches, notes = _match_all(names, labels, label_ids)
    if unknown := names - matches.keys():
        raise LabelError(unknown_labels_message(unknown, labels, label_ids) + _hint(source, labels))
    texts = {
        text: join_labels([matches[name] for name in each], labels) for text, each in sets.items()
    }
    items = [
        Item(item.name, None if item.label is None else texts[item.label]) for item in source.items
    ]
    return replace(source, items=items, notes=(*source.notes, *notes))


def check_same_labels(a: Source, b: Source) -> None:
    """Raise LabelError if two models name a class of the same source differently."""
    for one, two in zip(a.items, b.items, strict=True):
        if one.label != two.label:
            raise LabelError(
                f"the models name the class of {one.name} differently, {one.label!r} and "
                f"{two.label!r}, so they cannot be compared"
            )


def unknown_labels_message(
    unknown: Iterable[str], labels: Sequence[str], label_ids: Sequence[str] | None = None
) -> str:
    """Return the message for labels in the data that are not among the model's `labels`."""
    names = sorted(unknown)
    named, known = (", ".join(map(repr, some[:MAX_NAMED])) for some in (names, labels))
    more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    ellipsis = " ..." if len(labels) > MAX_NAMED else ""
    similar = get_close_matches(names[0], labels, n=1, cutoff=0.75)
    suggestion = f" (did you mean {similar[0]!r}?)" if similar else ""
    ids = f"; WordNet IDs such as {label_ids[0]} are also accepted" if label_ids else ""
    return (
        f"the data has labels that are unknown to the model: {named}{more}{suggestion}; "
        f"the model's labels are {known}{ellipsis}{ids}"
    )


def _match_all(
    names: Iterable[str], labels: Sequence[str], label_ids: Sequence[str] | None
) -> tuple[Mapping[str, str], Sequence[str]]:
    """Return the labels by the names that have one, and notes on how they were matched."""
    exact = set(labels)
    by_id = dict(zip(label_ids or (), labels, strict=False))
    spellings = Counter(_fold(label) for label in exact)
    by_spelling = {_fold(label): label for label in exact if spellings[_fold(label)] == 1}
    matches: dict[str, str] = {}
    with_id = 0
    for name in names:
        found = _WORDNET_ID.match(name)
        if name in exact:
            matches[name] = name
        elif found and found[1] in by_id:
            matches[name] = by_id[found[1]]
            with_id += 1
        elif _fold(name) in by_spelling:
            matches[name] = by_spelling[_fold(name)]
    if with_id:
        return matches, [f"classes matched by their WordNet ID: {with_id:,}"]
    if not matches and all(_is_index(name, len(labels)) for name in names):
        matches = {name: labels[int(name)] for name in names}
        return matches, [f"class names are indices of the model's labels, 0 is {labels[0]!r}"]
    return matches, []


def _hint(source: Source, labels: Sequence[str]) -> str:
    """Return a hint on the top folder above the class folders, if there is one."""
    skipped = source.skipped_folder
    if skipped is None:
        return ""
    hint = f"; the top folder {skipped!r} was not used as a class"
    if skipped in labels:
        hint += ": to use it, move its images out of its subfolders"
    return hint


def _fold(name: str) -> str:
    return " ".join(_SEPARATOR.sub(" ", name).casefold().split())


def _is_index(name: str, count: int) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < 7 and int(name) < count
