"""The shadow of a model in the registry."""

from pathlib import Path

import pytest

from backend.registry.errors import ActiveVersionError, StoreFullError, UnknownVersionError
from backend.registry.index import ShadowRecord
from backend.registry.registry import Registry
from backend.registry.storage import FolderStorage
from tests.registry.records import add


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry with the versions 1, which is active, and 2."""
    registry = Registry(FolderStorage(tmp_path / "registry"), max_active_bytes=250)
    add(registry)
    add(registry, activate=False)
    return registry


def shadow(registry: Registry) -> ShadowRecord | None:
    return registry.read().models["bugs"].shadow


def test_shadow_is_stored_and_removed(registry: Registry) -> None:
    assert shadow(registry) is None
    registry.set_shadow("bugs", 2, 0.5)
    stored = shadow(registry)
    assert stored is not None
    assert (stored.version, stored.share) == (2, 0.5)
    for _ in range(2):
        registry.remove_shadow("bugs")
        assert shadow(registry) is None


def test_other_share_keeps_the_time_and_another_version_does_not(registry: Registry) -> None:
    registry.set_shadow("bugs", 2, 0.5)
    first = shadow(registry)
    registry.set_shadow("bugs", 2, 1)
    second = shadow(registry)
    assert first is not None
    assert second is not None
    assert (second.since, second.share) == (first.since, 1)
    add(registry, activate=False)
    registry.set_shadow("bugs", 3, 1)
    third = shadow(registry)
    assert third is not None
    assert third.since > first.since


def test_only_an_existing_version_that_is_not_active_is_a_shadow(registry: Registry) -> None:
    with pytest.raises(UnknownVersionError):
        registry.set_shadow("bugs", 3, 1)
    with pytest.raises(UnknownVersionError):
        registry.set_shadow("bees", 1, 1)
    with pytest.raises(ActiveVersionError):
        registry.set_shadow("bugs", 1, 1)
    add(registry, "bees", activate=False)
    with pytest.raises(UnknownVersionError, match="no active version"):
        registry.set_shadow("bees", 1, 1)


def test_shadow_ends_when_its_version_is_activated(registry: Registry) -> None:
    registry.set_shadow("bugs", 2, 1)
    registry.activate("bugs", 2)
    assert shadow(registry) is None


def test_shadow_ends_when_its_version_is_deleted(registry: Registry) -> None:
    registry.set_shadow("bugs", 2, 1)
    registry.delete_version("bugs", 2)
    assert shadow(registry) is None


def test_shadow_stays_when_another_version_is_added_activated_or_deleted(
    registry: Registry,
) -> None:
    registry.set_shadow("bugs", 2, 1)
    before = shadow(registry)
    add(registry)
    assert shadow(registry) == before
    registry.activate("bugs", 1)
    registry.delete_version("bugs", 3)
    assert shadow(registry) == before


def test_shadow_of_a_deleted_model_does_not_return(registry: Registry) -> None:
    registry.set_shadow("bugs", 2, 1)
    registry.delete_model("bugs")
    registry.remove_shadow("bugs")
    add(registry)
    assert shadow(registry) is None


def test_shadow_counts_for_the_memory(registry: Registry) -> None:
    registry.set_shadow("bugs", 2, 1)
    with pytest.raises(StoreFullError, match="memory"):
        add(registry, "bees")
    add(registry, "bees", activate=False)
    registry.remove_shadow("bugs")
    registry.activate("bees", 1)
    with pytest.raises(StoreFullError, match="memory"):
        registry.set_shadow("bugs", 2, 1)
