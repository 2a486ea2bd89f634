"""Which cached copies are removed."""

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
    """Add a copy of one megabyte, last used at `used`."""
    with cache.lock(key, 0) as entry, entry.draft() as draft:
        model = write_model(draft, "m", description=key)
        (model / artifact.ONNX).write_bytes(b"x" * SIZE)
        artifact.write_manifest(model, artifact.read_manifest(model))
        copy = entry.commit(model)
    os.utime(copy, (used, used))
    return copy


def test_least_recently_used_copies_are_removed_first(cache: Cache) -> None:
    old, newest, newer = (fill(cache, key, used) for key, used in (("a", 1), ("b", 3), ("c", 2)))
    cache.trim(int(2.5 * SIZE), in_use=())
    assert (old.exists(), newer.exists(), newest.exists()) == (False, True, True)
    cache.trim(int(1.5 * SIZE), in_use=())
    assert (newer.exists(), newest.exists()) == (False, True)


def test_find_updates_the_time_of_use(cache: Cache) -> None:
    old, other = fill(cache, "a", 1), fill(cache, "b", 2)
    assert cache.entry("a").find(old.name) == old
    cache.trim(int(1.5 * SIZE), in_use=())
    assert (old.exists(), other.exists()) == (True, False)


def test_copy_in_use_is_never_removed(cache: Cache) -> None:
    old, newer = fill(cache, "a", 1), fill(cache, "b", 2)
    cache.trim(0, in_use={old})
    assert (old.exists(), newer.exists()) == (True, False)


def test_locked_entry_is_not_trimmed(cache: Cache) -> None:
    copy = fill(cache, "a", 1)
    with cache.lock("a", 0) as entry, entry.draft() as draft:
        cache.trim(0, in_use=())
        assert copy.exists()
        assert draft.exists()
        with pytest.raises(UnreachableError, match="another process"), cache.lock("a", 0):
            pass


def test_drafts_of_killed_processes_are_removed(cache: Cache) -> None:
    for clean_up in (lambda: cache.trim(SIZE, in_use=()), lambda: cache.lock("a", 0).__enter__()):
        draft = cache.root / "a" / ".draft-x"
        draft.mkdir(parents=True)
        (draft / "model.onnx").touch()
        clean_up()
        assert not draft.exists()


def test_damaged_current_revision_is_ignored(cache: Cache) -> None:
    with cache.lock("a", 0) as entry:
        for text in ("", "{}", '{"revision": "../..", "origin": "x"}'):
            (entry.folder / "current.json").write_text(text)
            assert entry.current() is None


def test_trimming_an_empty_cache_does_nothing(cache: Cache) -> None:
    cache.trim(0, in_use=())
    assert not cache.root.exists()
