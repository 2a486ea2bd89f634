"""Answers wait for their commit, but not for long; storing resumes by itself."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest

from backend.history import writer
from backend.history.errors import HistoryUnavailableError
from backend.history.record import Record
from backend.history.store import Store
from backend.history.writer import Writer
from tests.history.work import made
from tests.inference.work import WAIT

pytestmark = pytest.mark.anyio


class FakeStore:
    """Commits into `groups`, when it may; `broken` says why not."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.broken: Exception | None = None
        self.refused: set[str] = set()
        self.open = threading.Event()
        self.open.set()
        self.begun = threading.Semaphore(0)
        self.closed = False

    def prepare(self) -> None:
        if self.broken:
            raise self.broken

    def add(self, records: Sequence[Record]) -> set[str]:
        self.begun.release()
        assert self.open.wait(WAIT)
        if self.broken:
            raise self.broken
        self.groups.append([one["id"] for one in records])
        return self.refused

    def close(self) -> None:
        self.closed = True

    async def begins(self) -> None:
        """Wait until a commit has begun."""
        assert await asyncio.to_thread(self.begun.acquire, timeout=WAIT)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    monkeypatch.setattr(writer, "_PAUSE", 0.01)
    return FakeStore()


@pytest.fixture
async def open_writer(store: FakeStore) -> AsyncIterator[Writer]:
    """A writer whose store is open."""
    found = Writer(lambda: cast(Store, store))
    await asyncio.wait_for(found.opened.wait(), WAIT)
    yield found
    store.open.set()
    await found.close()
    assert store.closed


async def keep_until(writer: Writer, stored: bool) -> None:
    """Keep records until it is `stored` or not."""
    async with asyncio.timeout(WAIT):
        while await writer.keep(made()) is not stored:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_kept_record_has_been_committed(open_writer: Writer, store: FakeStore) -> None:
    sent = made()
    assert await open_writer.keep(sent)
    assert store.groups == [[sent["id"]]]


async def test_those_who_wait_share_the_next_commit(open_writer: Writer, store: FakeStore) -> None:
    store.open.clear()
    first = asyncio.create_task(open_writer.keep(made()))
    await store.begins()
    others = [asyncio.create_task(open_writer.keep(made())) for _ in range(9)]
    await asyncio.sleep(0)
    store.open.set()
    assert all(await asyncio.gather(first, *others))
    assert [len(group) for group in store.groups] == [1, 9]


async def test_a_row_that_is_refused_is_not_called_stored(
    open_writer: Writer, store: FakeStore
) -> None:
    sent = made()
    store.refused = {sent["id"]}
    assert not await open_writer.keep(sent)
    assert await open_writer.keep(made())


async def test_a_database_that_fails_holds_nobody_up_and_comes_back(
    open_writer: Writer, store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.broken = HistoryUnavailableError()
    lost = made()
    assert not await open_writer.keep(lost)
    assert not await open_writer.keep(made())  # at once: it waits for nothing
    store.broken = None
    await keep_until(open_writer, stored=True)
    assert store.groups[0] == [lost["id"]]  # what was tried is stored after all, once
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "answers are not stored",
        "answers are stored again",
    ]


async def test_a_database_that_hangs_is_waited_for_once(
    open_writer: Writer, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 0.05)
    store.open.clear()
    assert not await open_writer.keep(made())
    monkeypatch.setattr(writer, "PATIENCE", 1e6)  # whoever waited now would wait for ever
    async with asyncio.timeout(WAIT):
        assert not await open_writer.keep(made())
    store.open.set()
    await keep_until(open_writer, stored=True)


async def test_what_comes_before_the_database_is_open_waits_for_nothing_and_is_stored(
    store: FakeStore,
) -> None:
    early = made()
    gate = threading.Event()

    def slowly() -> Store:
        assert gate.wait(WAIT)
        return cast(Store, store)

    writer = Writer(slowly)
    assert not await writer.keep(early)
    with pytest.raises(HistoryUnavailableError):
        _ = writer.store
    gate.set()
    await keep_until(writer, stored=True)
    assert store.groups[0][0] == early["id"]
    await writer.close()


async def test_a_database_that_is_down_at_the_start_is_tried_again(store: FakeStore) -> None:
    store.broken = HistoryUnavailableError()
    writer = Writer(lambda: cast(Store, store))
    async with asyncio.timeout(WAIT):
        await writer.tried.wait()
    assert not await writer.keep(made())
    store.broken = None
    await keep_until(writer, stored=True)
    await writer.close()


async def test_the_end_commits_what_is_there(store: FakeStore) -> None:
    writer = Writer(lambda: cast(Store, store))
    await asyncio.wait_for(writer.opened.wait(), WAIT)
    store.open.clear()
    waiting = [asyncio.create_task(writer.keep(made())) for _ in range(3)]
    await store.begins()
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    store.open.set()
    await closing
    assert await asyncio.gather(*waiting) == [True] * 3
    assert not await writer.keep(made())


async def test_a_client_that_leaves_disturbs_nobody(open_writer: Writer, store: FakeStore) -> None:
    store.open.clear()
    leaving, staying = (asyncio.create_task(open_writer.keep(made())) for _ in range(2))
    await store.begins()
    leaving.cancel()
    store.open.set()
    assert await staying
    assert await open_writer.keep(made())
