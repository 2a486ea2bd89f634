"""Results of the page in a database, found by their token. Imports no Streamlit.

A row is a job, or the images of a selection. It expires, and the oldest rows are deleted when all
of them exceed the limit. To change the columns, rename the table: rows of other versions expire
unread.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    Double,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    func,
    insert,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from frontend.state.stored_result import State, StoredResult, StoreError, TooLargeError

STALE_AFTER: Final = 20.0  # s without a report, after which a running job counts as interrupted
_TIMEOUT: Final = 5  # s for a connection, a lock, a statement
_ADVISORY_LOCK: Final = 7_739_167  # arbitrary, but unique within the database

_METADATA: Final = MetaData()
_RESULTS: Final = Table(
    "page_results_1",
    _METADATA,
    Column("token", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    Column("title", String, nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes of the content
    Column("updated_at", Double, nullable=False, index=True),  # s since 1970
    Column("expires_at", Double, nullable=False, index=True),
    Column("content", LargeBinary),
)


class PageStore:
    """The stored results of all instances of the page. Thread-safe; methods raise StoreError."""

    def __init__(
        self, url: str, *, seconds: float, max_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.seconds: Final = seconds
        self._engine: Final = _open(make_url(url))
        self._max_bytes: Final = max_bytes
        self._clock: Final = clock
        self._is_prepared = False

    def prepare(self) -> None:
        """Create the table if there is none."""
        with self._transaction():
            pass

    def put(self, token: str, kind: str, result: StoredResult) -> None:
        """Store a result in place of an earlier one with the same token.

        Raise TooLargeError, and keep no result of this token, if it exceeds the limit of all.
        """
        now, size = self._clock(), len(result.content or b"")
        row = {
            "token": token,
            "kind": kind,
            "state": result.state,
            "title": result.title.encode("utf-8", "replace").decode().replace("\0", ""),
            "done": result.done,
            "total": result.total,
            "size": size,
            "updated_at": now,
            "expires_at": now + self.seconds,
            "content": result.content,
        }
        with self._transaction() as connection:
            connection.execute(delete(_RESULTS).where(_RESULTS.c.token == token))
            if size <= self._max_bytes:
                self._make_room(connection, size)
                connection.execute(insert(_RESULTS), row)
        if size > self._max_bytes:
            raise TooLargeError(f"a result of {size:,} bytes exceeds the limit of the store")

    def report(self, progress: Mapping[str, tuple[int, int]]) -> None:
        """Store that jobs are running, with done and total steps by token."""
        now = self._clock()
        with self._transaction() as connection:
            for token, (done, total) in progress.items():
                connection.execute(
                    update(_RESULTS)
                    .where(_RESULTS.c.token == token, _RESULTS.c.state == "running")
                    .values(done=done, total=total, updated_at=now, expires_at=now + self.seconds)
                )

    def find(self, token: str, kind: str) -> StoredResult | None:
        """Return the result of that token and kind; None if there is none (any more)."""
        now = self._clock()
        with self._transaction() as connection:
            row = connection.execute(
                select(_RESULTS).where(
                    _RESULTS.c.token == token, _RESULTS.c.kind == kind, _RESULTS.c.expires_at > now
                )
            ).one_or_none()
        if row is None:
            return None
        is_stale = row.state == "running" and now - row.updated_at > STALE_AFTER
        state: State = "interrupted" if is_stale else row.state
        return StoredResult(state, row.title, row.done, row.total, row.content)

    def delete(self, token: str) -> None:
        """Delete the result of that token, if there is one."""
        with self._transaction() as connection:
            connection.execute(delete(_RESULTS).where(_RESULTS.c.token == token))

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _make_room(self, connection: Connection, size: int) -> None:
        """Delete expired rows, then the oldest ones, until `size` more bytes fit."""
        connection.execute(delete(_RESULTS).where(_RESULTS.c.expires_at <= self._clock()))
        total = connection.scalar(select(func.sum(_RESULTS.c.size))) or 0
        oldest = select(_RESULTS.c.token, _RESULTS.c.size).order_by(_RESULTS.c.updated_at)
        excess = int(total) + size - self._max_bytes
        if excess <= 0:
            return
        for token, stored in connection.execute(oldest.where(_RESULTS.c.size > 0)).all():
            connection.execute(delete(_RESULTS).where(_RESULTS.c.token == token))
            excess -= stored
            if excess <= 0:
                return

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                if not self._is_prepared:
                    _create_table(connection)
                yield connection
                self._is_prepared = True
        except SQLAlchemyError as error:
            raise StoreError(type(error).__name__) from error


def _open(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        if url.database:
            file = Path(url.database)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)  # results of users
        engine = create_engine(url, pool_timeout=_TIMEOUT, connect_args={"timeout": _TIMEOUT})
        event.listen(engine, "connect", _on_sqlite_connect)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(_BEGIN))
        return engine
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_timeout=_TIMEOUT,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": _TIMEOUT,
            "tcp_user_timeout": _TIMEOUT * 1000,
            "options": f"-c statement_timeout={_TIMEOUT}s",
        }
        | dict(url.query),
    )


_BEGIN: Final = "BEGIN IMMEDIATE"  # a reader that then writes would fail without waiting


def _on_sqlite_connect(connection: Any, _: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _create_table(connection: Connection) -> None:
    """Create the table, one process at a time."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
    _METADATA.create_all(connection)
