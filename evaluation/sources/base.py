"""Source: images that are read one at a time, in any order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from evaluation.types import AnySample, Sample, UnreadableSample


@dataclass(frozen=True, slots=True)
class Item:
    """The name of an image, encodable as UTF-8, and its label or None."""

    name: str
    label: str | None


class BrokenFileError(Exception):
    """An image file cannot be read; the message is shown in the list of failures."""


@dataclass(frozen=True, slots=True)
class Source:
    """Images by index.

    `read` returns the content of a file or raises BrokenFileError. `notes` list what was skipped.
    `skipped_folder` is the single top folder above all class folders, or None.
    """

    name: str
    items: Sequence[Item]
    read: Callable[[int], bytes]
    notes: tuple[str, ...] = ()
    close: Callable[[], None] = lambda: None
    skipped_folder: str | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> AnySample:
        item = self.items[index]
        try:
            return Sample(item.name, self.read(index), item.label)
        except BrokenFileError as error:
            return UnreadableSample(item.name, item.label, str(error))

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def samples(self, indices: Sequence[int] | None = None) -> Iterator[AnySample]:
        """Yield the images at `indices`, by default all of them."""
        for index in range(len(self)) if indices is None else indices:
            yield self[index]

    @property
    def labels(self) -> frozenset[str]:
        """The labels that occur."""
        return frozenset(item.label for item in self.items if item.label is not None)


def evenly_spaced(count: int, limit: int | None) -> Sequence[int]:
    """Return at most `limit` indices in [0, count), evenly spaced and sorted."""
    if limit is None or limit >= count:
        return range(count)
    return [index * count // limit for index in range(limit)]
