"""Requests wait for their commit up to a timeout; storing resumes after a failure."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest

from backend.history import writer
from backend.history.errors import HistoryUnavailableError
from backend.history.record import HistoryRecord
from backend.history.store import Store
from backend.history.writer import Writer
from tests.history.records import make_record
from tests.inference.helpers import TIMEOUT

pytestmark = pytest.mark.anyio


class FakeStore:
    """Commits into `groups` while `can_commit` is set; raises `error` if there is one."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.error: Exception | None = None
        self.rejected: set[str] = set()
        self.can_commit = threading.Event()
        self.can_commit.set()
        self.commits = threading.Semaphore(0)
        self.closed = False
        self.is_immediate = False  # whether the event loop can commit
        self.immediate_groups: list[int] = []
        self.seconds = 0.0  # of a commit on the event loop

    def prepare(self) -> None:
        if self.error:
            raise self.error

    def add(self, records: Sequence[HistoryRecord]) -> set[str]:
        self.commits.release()
        assert self.can_commit.wait(TIMEOUT)
        if self.error:
            raise self.error
        self.groups.append([one["id"] for one in records])
        return self.rejected

    def add_now(self, records: Sequence[HistoryRecord]) -> bool:
        if self.is_immediate:
            time.sleep(self.seconds)
            self.immediate_groups.append(len(records))
        return self.is_immediate

    def close(self) -> None:
        self.closed = True

    async def wait_for_commit(self) -> None:
        """Wait until a commit starts."""
        assert await asyncio.to_thread(self.commits.acquire, timeout=TIMEOUT)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    monkeypatch.setattr(writer, "_RETRY_DELAY", 0.01)
    return FakeStore()


@pytest.fixture
async def open_writer(store: FakeStore) -> AsyncIterator[Writer]:
    """A writer with an open store."""
    writer = Writer(lambda: cast(Store, store))
    await asyncio.wait_for(writer.opened.wait(), TIMEOUT)
    yield writer
    store.can_commit.set()
    await writer.close()
    assert store.closed


async def add_until(writer: Writer, stored: bool) -> None:
    """Add records until one is `stored` or not."""
    async with asyncio.timeout(TIMEOUT):
        while await writer.add(make_record()) is not stored:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_added_record_is_committed(open_writer: Writer, store: FakeStore) -> None:
    record = make_record()
    assert await open_writer.add(record)
    assert store.groups == [[record["id"]]]


async def test_waiting_records_share_the_next_commit(open_writer: Writer, store: FakeStore) -> None:
    store.can_commit.clear()
    first = asyncio.create_task(open_writer.add(make_record()))
    await store.wait_for_commit()
    others = [asyncio.create_task(open_writer.add(make_record())) for _ in range(9)]
    await asyncio.sleep(0)
    store.can_commit.set()
    assert all(await asyncio.gather(first, *others))
    assert [len(group) for group in store.groups] == [1, 9]


async def test_records_of_one_iteration_of_the_event_loop_share_a_commit(
    open_writer: Writer, store: FakeStore
) -> None:
    assert all(await asyncio.gather(*(open_writer.add(make_record()) for _ in range(3))))
    assert [len(group) for group in store.groups] == [3]


async def test_fast_database_is_written_on_the_event_loop(
    open_writer: Writer, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_MAX_SECONDS", TIMEOUT)  # on a busy machine, too
    store.is_immediate = True
    assert all(await asyncio.gather(*(open_writer.add(make_record()) for _ in range(40))))
    assert store.immediate_groups == [32, 8]
    assert not store.groups


async def test_thread_commits_now_and_then_for_the_checkpoints(
    open_writer: Writer, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_MAX_SECONDS", TIMEOUT)
    monkeypatch.setattr(writer, "_CHECKPOINT_INTERVAL", 3)
    store.is_immediate = True
    for _ in range(6):
        assert await open_writer.add(make_record())
    assert (len(store.immediate_groups), len(store.groups)) == (4, 2)


async def test_slow_disk_is_left_to_the_thread(open_writer: Writer, store: FakeStore) -> None:
    store.is_immediate, store.seconds = True, 2 * writer._MAX_SECONDS
    for _ in range(3):
        assert await open_writer.add(make_record())
    assert (len(store.immediate_groups), len(store.groups)) == (1, 2)


async def test_rejected_row_is_not_stored(open_writer: Writer, store: FakeStore) -> None:
    record = make_record()
    store.rejected = {record["id"]}
    assert not await open_writer.add(record)
    assert await open_writer.add(make_record())


async def test_failed_commit_does_not_block_and_is_retried(
    open_writer: Writer, store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.error = HistoryUnavailableError()
    failed = make_record()
    assert not await open_writer.add(failed)
    assert not await open_writer.add(make_record())  # returns at once
    store.error = None
    await add_until(open_writer, stored=True)
    assert store.groups[0] == [failed["id"]]  # the failed record is stored later, once
    assert [one.message.split(":")[0] for one in caplog.records] == [
        "classifications are not stored",
        "classifications are stored again",
    ]


async def test_hanging_database_delays_one_request_only(
    open_writer: Writer, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "COMMIT_TIMEOUT", 0.05)
    store.can_commit.clear()
    assert not await open_writer.add(make_record())
    monkeypatch.setattr(writer, "COMMIT_TIMEOUT", 1e6)  # a second wait would never end
    async with asyncio.timeout(TIMEOUT):
        assert not await open_writer.add(make_record())
    store.can_commit.set()
    await add_until(open_writer, stored=True)


async def test_records_before_opening_are_stored_without_waiting(
    store: FakeStore,
) -> None:
    early = make_record()
    gate = threading.Event()

    def open_slowly() -> Store:
        assert gate.wait(TIMEOUT)
        return cast(Store, store)

    writer = Writer(open_slowly)
    assert not await writer.add(early)
    with pytest.raises(HistoryUnavailableError):
        _ = writer.store
    gate.set()
    await add_until(writer, stored=True)
    assert store.groups[0][0] == early["id"]
    await writer.close()


async def test_unavailable_database_is_opened_later(store: FakeStore) -> None:
    store.error = HistoryUnavailableError()
    writer = Writer(lambda: cast(Store, store))
    async with asyncio.timeout(TIMEOUT):
        await writer.attempted.wait()
    assert not await writer.add(make_record())
    store.error = None
    await add_until(writer, stored=True)
    await writer.close()


async def test_close_commits_pending_records(store: FakeStore) -> None:
    writer = Writer(lambda: cast(Store, store))
    await asyncio.wait_for(writer.opened.wait(), TIMEOUT)
    store.can_commit.clear()
    waiting = [asyncio.create_task(writer.add(make_record())) for _ in range(3)]
    await store.wait_for_commit()
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    store.can_commit.set()
    await closing
    assert await asyncio.gather(*waiting) == [True] * 3
    assert not await writer.add(make_record())


async def test_cancelled_request_does_not_affect_others(
    open_writer: Writer, store: FakeStore
) -> None:
    store.can_commit.clear()
    leaving, staying = (asyncio.create_task(open_writer.add(make_record())) for _ in range(2))
    await store.wait_for_commit()
    leaving.cancel()
    store.can_commit.set()
    assert await staying
    assert await open_writer.add(make_record())
