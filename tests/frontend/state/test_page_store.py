"""The page's store, in SQLite and PostgreSQL."""

import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from frontend.state.page_store import STALE_AFTER, PageStore
from frontend.state.stored_result import StoredResult, StoreError, TooLargeError
from tests.conftest import free_port
from tests.frontend.state.test_jobs import Clock
from tests.history.postgres import running

DONE = StoredResult("done", "pets.zip", 4, 4, b"content")
HOUR = 3600.0

Open = Callable[[], PageStore]


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    with running() as server:
        yield server.url()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Open]:
    """A function that opens the same store as another process would."""
    url = f"sqlite:///{tmp_path / 'page.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    stores: list[PageStore] = []

    def opened() -> PageStore:
        stores.append(PageStore(url, seconds=HOUR, max_bytes=100, clock=clock))
        return stores[-1]

    yield opened
    for token in "abcde":
        opened().delete(token)
    for store in stores:
        store.close()


def test_result_is_found_by_another_process(open_store: Open) -> None:
    open_store().put("a", "evaluation", DONE)
    other = open_store()
    assert other.find("a", "evaluation") == DONE
    assert other.find("a", "comparison") is None
    assert other.find("b", "evaluation") is None


def test_later_result_replaces_an_earlier_one(open_store: Open) -> None:
    store = open_store()
    store.put("a", "evaluation", StoredResult("running", "pets.zip"))
    store.put("a", "evaluation", DONE)
    assert store.find("a", "evaluation") == DONE
    store.delete("a")
    assert store.find("a", "evaluation") is None


def test_running_job_without_reports_is_interrupted(open_store: Open, clock: Clock) -> None:
    store = open_store()
    store.put("a", "evaluation", StoredResult("running", "pets.zip"))
    clock.now += STALE_AFTER
    store.report({"a": (3, 4)})
    clock.now += STALE_AFTER
    assert store.find("a", "evaluation") == StoredResult("running", "pets.zip", 3, 4)
    clock.now += 1
    assert store.find("a", "evaluation") == StoredResult("interrupted", "pets.zip", 3, 4)


def test_late_report_does_not_change_a_finished_job(open_store: Open) -> None:
    store = open_store()
    store.put("a", "evaluation", DONE)
    store.report({"a": (3, 4), "b": (1, 2)})
    assert store.find("a", "evaluation") == DONE
    assert store.find("b", "evaluation") is None


def test_results_expire(open_store: Open, clock: Clock) -> None:
    store = open_store()
    store.put("a", "evaluation", DONE)
    clock.now += HOUR
    assert store.find("a", "evaluation") is None


def test_oldest_results_are_deleted_above_the_limit(open_store: Open, clock: Clock) -> None:
    store = open_store()
    for token in "abc":
        clock.now += 1
        store.put(token, "evaluation", StoredResult("done", token, content=b"x" * 40))
    store.put("d", "evaluation", StoredResult("running", "d"))
    found = [token for token in "abcd" if store.find(token, "evaluation")]
    assert found == ["b", "c", "d"]


def test_result_above_the_limit_is_refused_and_no_other_is_deleted(open_store: Open) -> None:
    store = open_store()
    store.put("a", "evaluation", DONE)
    store.put("b", "evaluation", StoredResult("running", "b"))
    with pytest.raises(TooLargeError):
        store.put("b", "evaluation", StoredResult("done", "b", content=b"x" * 101))
    assert store.find("a", "evaluation") == DONE
    assert store.find("b", "evaluation") is None


def test_title_may_have_any_characters(open_store: Open) -> None:
    store = open_store()
    store.put("a", "evaluation", StoredResult("done", "Ä\0\udc80'; DROP TABLE", content=b"\0"))
    found = store.find("a", "evaluation")
    assert found is not None
    assert found.title == "Ä?'; DROP TABLE"


def test_processes_create_the_table_at_the_same_time(open_store: Open) -> None:
    stores = [open_store() for _ in range(4)]
    failures: list[StoreError] = []

    def prepare(store: PageStore) -> None:
        try:
            store.prepare()
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=prepare, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    file = tmp_path / "new" / "page.db"
    PageStore(f"sqlite:///{file}", seconds=HOUR, max_bytes=100).close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_locked_file_and_absent_server_are_errors_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frontend.state.page_store._TIMEOUT", 0.05)
    file = tmp_path / "page.db"
    store = PageStore(f"sqlite:///{file}", seconds=HOUR, max_bytes=100)
    store.prepare()
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="OperationalError"):
            store.put("a", "evaluation", DONE)
    other.close()
    store.put("a", "evaluation", DONE)
    store.close()
    url = f"postgresql://prism:secret@127.0.0.1:{free_port()}/prism"
    absent = PageStore(url, seconds=HOUR, max_bytes=100)
    with pytest.raises(StoreError) as caught:
        absent.find("a", "evaluation")
    assert "secret" not in str(caught.value)
