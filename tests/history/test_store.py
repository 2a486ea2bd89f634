"""The store on SQLite and PostgreSQL."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from backend.history.database import open_engine, prepare
from backend.history.errors import HistoryUnavailableError, NoImageError, UnknownClassificationError
from backend.history.inserts import SqliteInserter
from backend.history.record import (
    DailyAccuracy,
    Feedback,
    HistoryFilters,
    HistoryRecord,
    make_feedback,
)
from backend.history.store import Store
from tests.history.records import NOON, make_record

DAY = timedelta(days=1)
NO_FILTERS = HistoryFilters()


def ids(store: Store, filters: HistoryFilters = NO_FILTERS) -> list[str]:
    return [one["id"] for one in store.page(filters, 500)]


def add_three(store: Store) -> list[HistoryRecord]:
    """Add classifications of three days; return their records, oldest first."""
    records = [
        make_record(NOON - 2 * DAY, in_distribution=None, prediction_set=None, coverage=None),
        make_record(NOON - DAY, prediction="1", in_distribution=False),
        make_record(NOON, model={"name": "other", "version": "2"}),
    ]
    assert store.add(records) == set()
    return records


def test_stored_record_equals_the_added_one(store: Store) -> None:
    record = make_record(NOON, filename="数字 '\"\n\0.png", confidence=np.float32(0.75))
    store.add([record])
    stored = store.get(record["id"])
    assert {name: stored[name] for name in record if name != "thumbnail"} == {  # type: ignore[literal-required]
        name: value for name, value in record.items() if name != "thumbnail"
    }
    assert stored["time"] == NOON
    assert stored["filename"] == "数字 '\"\n\ufffd.png"
    assert (stored["correction"], stored["corrected_at"], stored["has_thumbnail"]) == (
        None,
        None,
        False,
    )


def test_record_is_stored_now_unless_the_database_is_locked(
    sqlite_store: Store, tmp_path: Path
) -> None:
    records = [make_record() for _ in range(3)]
    assert sqlite_store.add_now(records[:2])
    with closing(sqlite3.connect(tmp_path / "history.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not sqlite_store.add_now(records[2:])
    assert sqlite_store.add_now(records[2:])
    assert ids(sqlite_store, NO_FILTERS) == [one["id"] for one in reversed(records)]


def test_event_loop_waits_for_no_lock_and_no_checkpoint(tmp_path: Path) -> None:
    engine = open_engine("", tmp_path)
    prepare(engine)
    inserter = SqliteInserter(engine)
    inserter.prepare()
    assert inserter._immediate is not None
    cursor = inserter._immediate.cursor()
    for pragma in ("busy_timeout", "wal_autocheckpoint"):
        assert cursor.execute(f"PRAGMA {pragma}").fetchone() == (0,)
    inserter.close()
    engine.dispose()


def test_only_sqlite_is_written_now_and_without_thumbnails(store: Store, url: str) -> None:
    assert not store.add_now([make_record(thumbnail=b"webp")])
    assert store.add_now([make_record()]) is url.startswith("sqlite")


def test_unusable_row_is_left_to_the_thread(sqlite_store: Store) -> None:
    record, unusable = make_record(), make_record(filename="\udc80.png")
    assert not sqlite_store.add_now([record, unusable])
    assert sqlite_store.add([record, unusable]) == {unusable["id"]}
    assert ids(sqlite_store) == [record["id"]]


def test_commits_of_the_thread_bound_the_log_of_sqlite(sqlite_store: Store, tmp_path: Path) -> None:
    for count in range(1, 1000):
        add = sqlite_store.add if count % 64 == 0 else sqlite_store.add_now
        add([make_record()])
    log = next(tmp_path.glob("history.db-wal"))
    assert log.stat().st_size < 2 * 1000 * 4096  # a checkpoint is due after 1,000 pages


def test_numpy_floats_are_stored_as_numbers(store: Store) -> None:
    record = make_record(top=[{"label": "7", "index": 7, "probability": np.float32(0.1)}])
    store.add([record])
    assert store.get(record["id"])["top"][0]["probability"] == pytest.approx(0.1)


def test_adding_twice_stores_once(store: Store) -> None:
    records = [make_record(thumbnail=b"webp"), make_record(), make_record(thumbnail=b"webp")]
    for _ in range(2):
        assert store.add(records) == set()
    assert sorted(ids(store)) == sorted(one["id"] for one in records)


def test_thumbnail_is_deleted_with_its_classification(store: Store) -> None:
    with_thumbnail, without = make_record(thumbnail=b"webp"), make_record()
    store.add([with_thumbnail, without])
    assert store.image(with_thumbnail["id"]) == b"webp"
    assert store.get(with_thumbnail["id"])["has_thumbnail"]
    with pytest.raises(NoImageError):
        store.image(without["id"])
    store.delete(with_thumbnail["id"])
    with pytest.raises(UnknownClassificationError):
        store.image(with_thumbnail["id"])
    store.add([{**with_thumbnail, "thumbnail": None}])
    with pytest.raises(NoImageError):
        store.image(with_thumbnail["id"])


def test_pages_are_ordered_newest_first(store: Store) -> None:
    old, middle, new = (one["id"] for one in add_three(store))
    assert [one["id"] for one in store.page(NO_FILTERS, 2)] == [new, middle]
    assert [one["id"] for one in store.page(NO_FILTERS, 2, before=middle)] == [old]
    assert [one["id"] for page in store.pages(NO_FILTERS) for one in page] == [new, middle, old]


def test_filters_select_classifications(store: Store) -> None:
    old, middle, new = (one["id"] for one in add_three(store))
    store.set_feedback(old, make_feedback("7"))
    for filters, expected in [
        (HistoryFilters(model="other"), [new]),
        (HistoryFilters(model="oth\0er"), []),
        (HistoryFilters(label="1"), [middle]),
        (HistoryFilters(corrected=True), [old]),
        (HistoryFilters(wrong=False), [old]),
        (HistoryFilters(wrong=True), []),
        (HistoryFilters(corrected=False), [new, middle]),
        (HistoryFilters(in_distribution=False), [middle]),
        (HistoryFilters(in_distribution=True), [new]),
        (HistoryFilters(since=NOON - DAY), [new, middle]),
        (HistoryFilters(until=NOON - DAY), [old]),
        (HistoryFilters(model="fake", label="7"), [old]),
    ]:
        assert ids(store, filters) == expected, filters


def test_feedback_is_stored_replaced_and_removed(store: Store) -> None:
    record = make_record()
    store.add([record])
    for feedback in (
        make_feedback("1"),
        make_feedback("cat", "photos"),
        make_feedback(none_of_these=True),
        make_feedback(),
    ):
        stored = store.set_feedback(record["id"], feedback)
        assert {name: stored[name] for name in feedback} == feedback  # type: ignore[literal-required]
    assert feedback["corrected_at"] is None


@pytest.mark.parametrize(
    ("in_distribution", "feedback", "is_confirmed"),
    [
        (True, make_feedback("7"), True),
        (None, make_feedback("7"), True),
        (True, make_feedback("1"), False),
        (True, make_feedback("cat", "photos"), False),
        (True, make_feedback(none_of_these=True), False),
        (None, make_feedback(none_of_these=True), False),
        # The answer to a rejected image is that it shows none of the classes.
        (False, make_feedback(none_of_these=True), True),
        (False, make_feedback("cat", "photos"), True),
        (False, make_feedback("7"), False),
        (False, make_feedback("1"), False),
    ],
)
def test_feedback_confirms_or_contradicts(
    sqlite_store: Store, in_distribution: bool | None, feedback: Feedback, is_confirmed: bool
) -> None:
    record = make_record(in_distribution=in_distribution)
    sqlite_store.add([record, make_record()])
    sqlite_store.set_feedback(record["id"], feedback)
    assert ids(sqlite_store, HistoryFilters(wrong=not is_confirmed)) == [record["id"]]
    assert ids(sqlite_store, HistoryFilters(wrong=is_confirmed)) == []
    (day,) = sqlite_store.accuracy(NO_FILTERS)
    assert (day.confirmed, day.corrected) == (int(is_confirmed), int(not is_confirmed))


def test_accuracy_counts_feedback_by_day(store: Store) -> None:
    midnight = NOON.replace(hour=0)
    records = [
        make_record(midnight),
        make_record(NOON),
        make_record(NOON),
        make_record(midnight - timedelta(milliseconds=1)),
    ]
    store.add(records)
    for one, label in zip(records, ["7", "7", "1", "2"], strict=True):
        store.set_feedback(one["id"], make_feedback(label))
    assert store.accuracy(NO_FILTERS) == [
        DailyAccuracy("2026-05-04", 2, 1),
        DailyAccuracy("2026-05-03", 0, 1),
    ]
    assert store.accuracy(HistoryFilters(since=midnight, label="7")) == [
        DailyAccuracy("2026-05-04", 2, 1)
    ]


def test_accuracy_counts_days_of_a_time_zone(store: Store) -> None:
    """On 2026-03-29 Berlin changes from UTC+1 to UTC+2; in Kathmandu it is UTC+5:45."""
    times = [
        datetime(2026, 3, 28, 22, 59, 59, tzinfo=UTC),
        datetime(2026, 3, 28, 23, 0, tzinfo=UTC),
        datetime(2026, 3, 29, 21, 59, 59, tzinfo=UTC),
        datetime(2026, 3, 29, 22, 0, tzinfo=UTC),
    ]
    records = [make_record(time) for time in times]
    store.add(records)
    for one in records:
        store.set_feedback(one["id"], make_feedback("7"))

    def days(zone: str) -> dict[str, int]:
        return {one.day[5:]: one.confirmed for one in store.accuracy(NO_FILTERS, ZoneInfo(zone))}

    assert days("UTC") == {"03-29": 2, "03-28": 2}
    assert days("Europe/Berlin") == {"03-30": 1, "03-29": 2, "03-28": 1}
    assert list(days("Europe/Berlin")) == ["03-30", "03-29", "03-28"]
    assert days("Asia/Kathmandu") == {"03-30": 2, "03-29": 2}
    assert days("America/New_York") == {"03-29": 2, "03-28": 2}


def test_expired_classifications_are_deleted_in_batches(store: Store) -> None:
    old = [make_record(NOON - DAY, thumbnail=b"x" if n == 0 else None) for n in range(501)]
    store.add(old)
    new = make_record(NOON)
    store.add([new])
    assert [store.delete_some(HistoryFilters(until=NOON)) for _ in range(3)] == [500, 1, 0]
    assert ids(store) == [new["id"]]


def test_only_matching_classifications_are_deleted(store: Store) -> None:
    old, _, new = (one["id"] for one in add_three(store))
    assert store.delete_some(HistoryFilters(label="1")) == 1
    assert ids(store) == [new, old]
    store.set_feedback(old, make_feedback(none_of_these=True))
    assert store.delete_some(HistoryFilters(wrong=True, search="SEVEN")) == 1
    assert ids(store) == [new]


def test_search_ignores_case_and_takes_wildcards_literally(store: Store) -> None:
    names: list[str | None] = ["100%.png", "Straße Ärger.JPG", "a_b.png", None, "axb.png"]
    records = [make_record(filename=name, prediction="Tabby Cat") for name in names]
    store.add(records)
    store.set_feedback(records[3]["id"], make_feedback("Lynx"))
    cases: list[tuple[str, list[str | None]]] = [
        ("0%", ["100%.png"]),
        ("%", ["100%.png"]),
        ("ärger.jpg", ["Straße Ärger.JPG"]),
        ("A_B", ["a_b.png"]),
        ("lYnx", [None]),
        ("tabby", names),
        ("dog", []),
        ("\\", []),
        ("/", []),
        ("'", []),
        ("a\0", []),
    ]
    for search, expected in cases:
        found = store.page(HistoryFilters(search=search), 500)
        assert {one["filename"] for one in found} == set(expected), search


def test_count_stops_at_its_maximum(store: Store) -> None:
    add_three(store)
    assert [store.count(NO_FILTERS, maximum) for maximum in (2, 3, 4)] == [2, 3, 3]
    assert store.count(HistoryFilters(label="1"), 9) == 1


def test_images_of_matching_classifications(store: Store) -> None:
    records = [make_record(thumbnail=b"%d" % n, prediction=str(n % 2)) for n in range(120)]
    store.add([*records, make_record(prediction="1")])
    pages = list(store.images(HistoryFilters(label="1")))
    assert [len(page) for page in pages] == [50, 10]
    assert {stored["id"]: webp for page in pages for stored, webp in page} == {
        one["id"]: one["thumbnail"] for one in records[1::2]
    }


@pytest.mark.parametrize("classification_id", ["01JD3YV5K7Q4M8W2X6Z9B1C0DE", "x", "\0", "é" * 26])
def test_unknown_id_raises(store: Store, classification_id: str) -> None:
    give_feedback = partial(store.set_feedback, feedback=make_feedback("1"))
    for call in (store.get, store.image, store.delete, give_feedback):
        with pytest.raises(UnknownClassificationError):
            call(classification_id)


def test_rejected_row_fails_alone(store: Store) -> None:
    good, bad = make_record(), make_record(prediction=None)
    assert store.add([good, bad]) == {bad["id"]}
    assert ids(store) == [good["id"]]


def test_locked_database_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.history.database._TIMEOUT", 0.05)
    store = Store("", tmp_path)
    store.prepare()
    other = sqlite3.connect(tmp_path / "history.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(HistoryUnavailableError):
        store.add([make_record()])
    assert ids(store) == []  # reading still works
    other.close()
    store.add([make_record()])
    store.close()
