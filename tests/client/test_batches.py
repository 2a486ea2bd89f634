"""Tests of splitting images into requests."""

from collections.abc import Iterator

from client.batches import split_batches


def sizes(*contents: bytes) -> list[int]:
    batches = split_batches(contents, max_items=3, max_bytes=10, size=len)
    return [len(batch) for batch in batches]


def test_batches_are_limited_by_items_and_bytes() -> None:
    assert sizes() == []
    assert sizes(*[b"x"] * 7) == [3, 3, 1]
    assert sizes(b"x" * 5, b"x" * 5, b"x", b"x" * 10, b"x" * 11, b"x") == [2, 1, 1, 1, 1]


def test_full_batch_is_yielded_before_the_next_item_is_read() -> None:
    def items() -> Iterator[bytes]:
        yield from (b"a", b"b", b"c")
        raise AssertionError("read too far")

    batches = split_batches(items(), max_items=3, max_bytes=10, size=len)
    assert next(batches) == [b"a", b"b", b"c"]
