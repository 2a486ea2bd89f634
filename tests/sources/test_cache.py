"""Copies on disk: what is removed, and what never is."""

import os
from pathlib import Path

import pytest

from backend.inference.errors import UnreachableError
from backend.inference.models import artifact
from backend.sources.cache import Cache
from tests.fake_models import write_model

SIZE = 1_000_000


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def fill(cache: Cache, key: str, used: float) -> Path:
    """Keep a copy of a megabyte, last used at the time `used`."""
    with cache.hold(key, 0) as shelf, shelf.draft() as draft:
        model = write_model(draft, "m", description=key)
        (model / artifact.ONNX).write_bytes(b"x" * SIZE)
        artifact.write_manifest(model, artifact.read_manifest(model))
        copy = shelf.keep(model)
    os.utime(copy, (used, used))
    return copy


def test_the_copies_used_longest_ago_are_removed_first(cache: Cache) -> None:
    old, newest, newer = (fill(cache, key, used) for key, used in (("a", 1), ("b", 3), ("c", 2)))
    cache.trim(int(2.5 * SIZE), keep=())
    assert (old.exists(), newer.exists(), newest.exists()) == (False, True, True)
    cache.trim(int(1.5 * SIZE), keep=())
    assert (newer.exists(), newest.exists()) == (False, True)


def test_a_copy_that_is_used_counts_as_used(cache: Cache) -> None:
    old, other = fill(cache, "a", 1), fill(cache, "b", 2)
    assert cache.shelf("a").find(old.name) == old
    cache.trim(int(1.5 * SIZE), keep=())
    assert (old.exists(), other.exists()) == (True, False)


def test_a_copy_in_use_stays_whatever_the_bound(cache: Cache) -> None:
    old, newer = fill(cache, "a", 1), fill(cache, "b", 2)
    cache.trim(0, keep={old})
    assert (old.exists(), newer.exists()) == (True, False)


def test_a_shelf_that_another_holds_is_left_alone(cache: Cache) -> None:
    copy = fill(cache, "a", 1)
    with cache.hold("a", 0) as shelf, shelf.draft() as draft:
        cache.trim(0, keep=())
        assert copy.exists()
        assert draft.exists()
        with pytest.raises(UnreachableError, match="another process"), cache.hold("a", 0):
            pass


def test_what_a_killed_process_left_is_removed_by_the_next(cache: Cache) -> None:
    for tidy in (lambda: cache.trim(SIZE, keep=()), lambda: cache.hold("a", 0).__enter__()):
        left = cache.root / "a" / ".draft-left"
        left.mkdir(parents=True)
        (left / "model.onnx").touch()
        tidy()
        assert not left.exists()


def test_a_damaged_note_of_what_is_current_is_as_none(cache: Cache) -> None:
    with cache.hold("a", 0) as shelf:
        for text in ("", "{}", '{"revision": "../..", "origin": "x"}'):
            (shelf.folder / "current.json").write_text(text)
            assert shelf.current() is None


def test_an_empty_cache_needs_no_trimming(cache: Cache) -> None:
    cache.trim(0, keep=())
    assert not cache.root.exists()
