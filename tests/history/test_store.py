"""What is kept is found again, on SQLite and on PostgreSQL alike."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from backend.history.errors import HistoryUnavailableError, NoImageError, UnknownAnswerError
from backend.history.filters import Day, Search
from backend.history.record import Record
from backend.history.store import Store
from tests.history.work import NOON, made

DAY = timedelta(days=1)
ALL = Search()


def ids(store: Store, search: Search = ALL) -> list[str]:
    return [kept["id"] for kept in store.page(search, 500)]


def three(store: Store) -> list[Record]:
    """Three answers, the oldest first, of three days."""
    records = [
        made(NOON - 2 * DAY, in_distribution=None, prediction_set=None, coverage=None),
        made(NOON - DAY, prediction="1", in_distribution=False),
        made(NOON, model={"name": "other", "version": "2"}),
    ]
    assert store.add(records) == set()
    return records


def test_an_answer_comes_back_as_it_was(store: Store) -> None:
    sent = made(NOON, filename="数字 '\"\n\0.png", confidence=np.float32(0.75))
    store.add([sent])
    kept = store.get(sent["id"])
    assert {name: kept[name] for name in sent if name != "picture"} == {  # type: ignore[literal-required]
        name: value for name, value in sent.items() if name != "picture"
    }
    assert kept["time"] == NOON
    assert kept["filename"] == "数字 '\"\n\ufffd.png"
    assert (kept["correction"], kept["corrected_at"], kept["has_picture"]) == (None, None, False)


def test_numpys_floats_are_kept_as_numbers(store: Store) -> None:
    sent = made(top=[{"label": "7", "index": 7, "probability": np.float32(0.1)}])
    store.add([sent])
    assert store.get(sent["id"])["top"][0]["probability"] == pytest.approx(0.1)


def test_what_is_stored_twice_is_there_once(store: Store) -> None:
    records = [made(picture=b"webp"), made(), made(picture=b"webp")]
    for _ in range(2):
        assert store.add(records) == set()
    assert sorted(ids(store)) == sorted(one["id"] for one in records)


def test_pictures_are_kept_beside_and_go_with_their_answer(store: Store) -> None:
    with_one, without = made(picture=b"webp"), made()
    store.add([with_one, without])
    assert store.picture(with_one["id"]) == b"webp"
    assert store.get(with_one["id"])["has_picture"]
    with pytest.raises(NoImageError):
        store.picture(without["id"])
    store.delete(with_one["id"])
    with pytest.raises(UnknownAnswerError):
        store.picture(with_one["id"])
    store.add([{**with_one, "picture": None}])
    with pytest.raises(NoImageError):
        store.picture(with_one["id"])


def test_pages_follow_each_other_the_newest_first(store: Store) -> None:
    old, middle, new = (one["id"] for one in three(store))
    assert [kept["id"] for kept in store.page(ALL, 2)] == [new, middle]
    assert [kept["id"] for kept in store.page(ALL, 2, before=middle)] == [old]
    assert [kept["id"] for page in store.pages(ALL) for kept in page] == [new, middle, old]


def test_answers_are_found_by_what_they_are(store: Store) -> None:
    old, middle, new = (one["id"] for one in three(store))
    store.correct(old, "7")
    for search, found in [
        (Search(model="other"), [new]),
        (Search(model="oth\0er"), []),
        (Search(label="1"), [middle]),
        (Search(corrected=True), [old]),
        (Search(corrected=False), [new, middle]),
        (Search(in_distribution=False), [middle]),
        (Search(in_distribution=True), [new]),
        (Search(since=NOON - DAY), [new, middle]),
        (Search(until=NOON - DAY), [old]),
        (Search(model="fake", label="7"), [old]),
    ]:
        assert ids(store, search) == found, search


def test_a_correction_is_kept_and_can_be_taken_back(store: Store) -> None:
    sent = made()
    store.add([sent])
    corrected = store.correct(sent["id"], "1")
    assert corrected["correction"] == "1"
    assert corrected["corrected_at"] is not None
    assert store.correct(sent["id"], None)["corrected_at"] is None


def test_accuracy_counts_by_day_what_people_have_looked_at(store: Store) -> None:
    midnight = NOON.replace(hour=0)
    records = [made(midnight), made(NOON), made(NOON), made(midnight - timedelta(milliseconds=1))]
    store.add(records)
    for one, label in zip(records, ["7", "7", "1", "2"], strict=True):
        store.correct(one["id"], label)
    assert store.accuracy(ALL) == [Day("2026-05-04", 2, 1), Day("2026-05-03", 0, 1)]
    assert store.accuracy(Search(since=midnight, label="7")) == [Day("2026-05-04", 2, 1)]


def test_the_old_go_in_portions_and_the_others_stay(store: Store) -> None:
    old = [made(NOON - DAY, picture=b"x" if n == 0 else None) for n in range(501)]
    store.add(old)
    new = made(NOON)
    store.add([new])
    assert [store.delete_some(NOON) for _ in range(3)] == [500, 1, 0]
    assert ids(store) == [new["id"]]


@pytest.mark.parametrize("answer_id", ["01JD3YV5K7Q4M8W2X6Z9B1C0DE", "x", "\0", "é" * 26])
def test_an_unknown_id_is_told_so(store: Store, answer_id: str) -> None:
    for ask in (store.get, store.picture, store.delete, lambda one: store.correct(one, "1")):
        with pytest.raises(UnknownAnswerError):
            ask(answer_id)


def test_a_row_that_the_database_will_not_have_fails_alone(store: Store) -> None:
    good, bad = made(), made(prediction=None)
    assert store.add([good, bad]) == {bad["id"]}
    assert ids(store) == [good["id"]]


def test_a_locked_database_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.history.database._PATIENCE", 0.05)
    store = Store("", tmp_path)
    store.prepare()
    other = sqlite3.connect(tmp_path / "history.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(HistoryUnavailableError):
        store.add([made()])
    assert ids(store) == []  # reading goes on
    other.close()
    store.add([made()])
    store.close()
