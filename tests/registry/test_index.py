"""The version to roll back to."""

from backend.registry.index import Index, NewVersion

VERSION = NewVersion(id="0" * 16, bytes=1, labels=("ant", "bee"))


def previous(index: Index) -> int | None:
    return index.models["bugs"].previous


def test_previous_version_is_the_one_that_was_active_before() -> None:
    index = Index().add("bugs", VERSION, activate=True)
    assert previous(index) is None
    index = index.add("bugs", VERSION, activate=False)
    assert previous(index) is None
    index = index.add("bugs", VERSION, activate=True)
    assert previous(index) == 1
    index = index.activate("bugs", 1)
    assert previous(index) == 3
    assert previous(index.activate("bugs", 1)) == 3


def test_deleted_version_is_no_previous_version() -> None:
    index = Index().add("bugs", VERSION, activate=True).add("bugs", VERSION, activate=True)
    assert previous(index.remove_version("bugs", 1)) is None
