"""Pictures that can be read one at a time, in any order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from evaluation.types import Sample, Unreadable


@dataclass(frozen=True, slots=True)
class Item:
    """The name of a picture, which UTF-8 can hold, and its label where it has one."""

    name: str
    label: str | None


class BrokenFileError(Exception):
    """One picture's file cannot be read; the text says why, for the list of failures."""


def _nothing() -> None:
    """Close what needs no closing."""


@dataclass(frozen=True, slots=True)
class Source:
    """Pictures by index; `notes` say what was left out.

    `above` is the one folder above all the class folders, which was passed over.
    `read` gives the bytes of a file, or raises BrokenFileError.
    """

    name: str
    items: Sequence[Item]
    read: Callable[[int], bytes]
    notes: tuple[str, ...] = ()
    close: Callable[[], None] = field(default=_nothing)
    above: str | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample | Unreadable:
        item = self.items[index]
        try:
            return Sample(item.name, self.read(index), item.label)
        except BrokenFileError as error:
            return Unreadable(item.name, item.label, str(error))

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def samples(self, indices: Sequence[int] | None = None) -> Iterator[Sample | Unreadable]:
        """Read the pictures one after the other (None: all of them)."""
        for index in range(len(self)) if indices is None else indices:
            yield self[index]

    @property
    def labels(self) -> frozenset[str]:
        """The labels that occur."""
        return frozenset(item.label for item in self.items if item.label is not None)
