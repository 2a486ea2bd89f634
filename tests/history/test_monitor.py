"""The drift of the served versions is published, and withdrawn when there is none any more."""

from datetime import UTC, datetime, timedelta

import pytest

from backend.history import monitor as monitor_module
from backend.history.drift import Drift
from backend.history.monitor import DriftMonitor
from backend.history.store import Store
from tests.history.records import NOON, make_record


class FakeVersions:
    """The served versions, and when they were added."""

    def __init__(self) -> None:
        self.active: dict[str, str] = {}
        self.added = datetime(2020, 1, 1, tzinfo=UTC)

    def active_version(self, name: str) -> str | None:
        return self.active.get(name)

    def created(self, name: str, version: str) -> datetime | None:
        return self.added


def images(drift: Drift | None) -> int | None:
    return drift.images if drift else None


def run(monitor: DriftMonitor, *models: str) -> None:
    monitor._next_start = 0
    monitor.refresh(models)
    monitor.wait()


def test_images_of_the_served_version_since_it_was_added_are_tested(store: Store) -> None:
    published: dict[str, Drift | None] = {}
    versions = FakeVersions()
    monitor = DriftMonitor(lambda: store, versions, published.__setitem__)
    store.add([make_record(NOON + timedelta(days=n)) for n in range(3)])
    run(monitor, "fake")
    assert images(published["fake"]) == 3  # version 1 is that of the newest image
    versions.active["fake"] = "2"
    run(monitor, "fake")
    assert images(published["fake"]) is None
    versions.active["fake"] = "1"
    versions.added = NOON + timedelta(days=2)  # deleted, and taught again
    run(monitor, "fake")
    assert images(published["fake"]) == 1


def test_drift_of_a_deleted_model_is_withdrawn(store: Store) -> None:
    published: dict[str, Drift | None] = {}
    monitor = DriftMonitor(lambda: store, FakeVersions(), published.__setitem__)
    store.add([make_record()])
    run(monitor, "fake")
    assert published["fake"] is not None
    run(monitor)
    assert published == {"fake": None}


def test_long_round_delays_the_next_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[str] = []
    monitor = DriftMonitor(lambda: store, FakeVersions(), lambda name, _: published.append(name))
    monkeypatch.setattr(monitor_module, "INTERVAL", 0)
    monkeypatch.setattr(monitor_module, "PAUSE", 1e9)  # any round is long
    for _ in range(2):
        monitor.refresh(["fake"])
        monitor.wait()
    assert published == ["fake"]
