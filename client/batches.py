"""Splitting of many images into requests of bounded size."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def split_batches(
    items: Iterable[T], *, max_items: int, max_bytes: int, size: Callable[[T], int]
) -> Iterator[list[T]]:
    """Yield consecutive batches of at most `max_items` items and `max_bytes` in total.

    `size` returns the bytes of an item. An item larger than `max_bytes` forms its own batch.
    """
    batch: list[T] = []
    total = 0
    for item in items:
        item_size = size(item)
        if batch and total + item_size > max_bytes:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += item_size
        if len(batch) == max_items:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
