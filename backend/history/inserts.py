"""Fast insertion of records into SQLite and PostgreSQL.

Records with an existing id are skipped: an earlier attempt stored them.
"""

from collections.abc import Sequence
from datetime import UTC
from functools import lru_cache
from typing import Any, Final, cast

from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy.dialects import postgresql, sqlite

from backend.history.database import to_json
from backend.history.record import Feedback, HistoryRecord
from backend.history.tables import answers, pictures

_COLUMNS: Final = [
    column.name for column in answers.c if column.name not in Feedback.__annotations__
]
_NAMES: Final = ", ".join(_COLUMNS)
_IN_MEMORY: Final = (None, "", ":memory:")
_JSON: Final = frozenset({"top", "labels", "prediction_set", "timings"})
# The server converts the JSON text to the types of the columns. One value for all rows costs the
# client less than half of binding each value of each row.
_INSERT_JSON: Final = (
    f"INSERT INTO answers ({_NAMES}) "  # noqa: S608 (constant names)
    f"SELECT {_NAMES} FROM json_populate_recordset(NULL::answers, %s) ON CONFLICT DO NOTHING"
)


def make_inserter(engine: Engine) -> "PostgresInserter | SqliteInserter":
    """Return a function that commits records in one transaction; used by one thread."""
    return SqliteInserter(engine) if engine.dialect.name == "sqlite" else PostgresInserter(engine)


class PostgresInserter:
    """Inserts with a connection of the pool."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(self, records: Sequence[HistoryRecord]) -> None:
        rows = to_json([{**one, "thumbnail": None} for one in records])
        with self._engine.begin() as connection:
            connection.exec_driver_sql(_INSERT_JSON, (rows,))
            if thumbnails := _thumbnails(records):
                connection.execute(postgresql.insert(pictures).on_conflict_do_nothing(), thumbnails)

    def prepare(self) -> None:
        """Do nothing: `insert_now` is not possible."""

    def insert_now(self, records: Sequence[HistoryRecord]) -> bool:
        """Return False: the server is too far away for the event loop to wait for it."""
        return False

    def close(self) -> None:
        """Do nothing: connections return to the pool after each call."""


class SqliteInserter:
    """Keeps its connections: taking one from the pool costs as much as storing two rows.

    `__call__` is for a thread, `insert_now` for the event loop.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._raw: PoolProxiedConnection | None = None
        self._immediate: PoolProxiedConnection | None = None

    def __call__(self, records: Sequence[HistoryRecord]) -> None:
        if thumbnails := _thumbnails(records):
            with self._engine.begin() as connection:
                connection.exec_driver_sql(*_statement(records))
                connection.execute(sqlite.insert(pictures).on_conflict_do_nothing(), thumbnails)
            return
        self._raw = self._raw or self._engine.raw_connection()
        _execute(self._raw, records)

    def prepare(self) -> None:
        """Open the connection of `insert_now` to the present database."""
        self._close_immediate()
        if self._engine.url.database in _IN_MEMORY:
            return
        connection = self._engine.raw_connection()
        connection.detach()  # the pool must not get its settings
        connection.cursor().execute("PRAGMA busy_timeout=0")
        # A checkpoint waits for the disk. It is left to the commits of the thread.
        connection.cursor().execute("PRAGMA wal_autocheckpoint=0")
        self._immediate = connection

    def insert_now(self, records: Sequence[HistoryRecord]) -> bool:
        """Commit without waiting for the disk or a lock; return whether that was possible."""
        if self._immediate is None or any(one["thumbnail"] is not None for one in records):
            return False
        try:
            _execute(self._immediate, records)
        except Exception:  # the thread tries again, and reports or retries what fails there, too
            return False
        return True

    def close(self) -> None:
        self._close_immediate()
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def _close_immediate(self) -> None:
        if self._immediate is not None:
            self._immediate.close()
            self._immediate = None


def _execute(connection: PoolProxiedConnection, records: Sequence[HistoryRecord]) -> None:
    """Insert rows into SQLite.

    Each call of SQLite releases the GIL, and then competes with other threads for it. Therefore
    all rows are one statement, which is a transaction by itself. Unlike execute(), executemany()
    does not read the row id, for which it releases the GIL.
    """
    statement, values = _statement(records)
    connection.cursor().executemany(statement, (values,))


def _statement(records: Sequence[HistoryRecord]) -> tuple[str, tuple[Any, ...]]:
    values = tuple(value for one in records for value in _row(one))
    return _insert_rows(len(records)), values


@lru_cache(maxsize=32)  # as many as a group has records; sqlite3 keeps them prepared
def _insert_rows(count: int) -> str:
    """Return the statement that inserts `count` rows into SQLite."""
    row = f"({', '.join('?' * len(_COLUMNS))})"
    rows = ", ".join([row] * count)
    return f"INSERT INTO answers ({_NAMES}) VALUES {rows} ON CONFLICT DO NOTHING"  # noqa: S608


def _row(record: HistoryRecord) -> list[Any]:
    """Return the values of the columns as SQLite stores them."""
    row = cast(dict[str, Any], record) | {
        "time": record["time"].astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    }
    return [
        to_json(row[name]) if name in _JSON and row[name] is not None else row[name]
        for name in _COLUMNS
    ]


def _thumbnails(records: Sequence[HistoryRecord]) -> list[dict[str, Any]]:
    rows = ({"id": one["id"], "webp": one["thumbnail"]} for one in records)
    return [row for row in rows if row["webp"] is not None]
