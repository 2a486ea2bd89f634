"""Fast insertion of records into SQLite and PostgreSQL.

Records with an existing id are skipped: an earlier attempt stored them.
"""

from collections.abc import Sequence
from datetime import UTC
from typing import Any, Final, cast

from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy.dialects import postgresql, sqlite

from backend.history.database import to_json
from backend.history.record import Feedback, HistoryRecord
from backend.history.tables import answers, pictures

_COLUMNS: Final = [
    column.name for column in answers.c if column.name not in Feedback.__annotations__
]
# Each call of SQLite releases the GIL, and then competes with the event loop for it: one call per
# row, plus begin and commit, would cost a quarter of the throughput. Therefore all rows are one
# JSON text and one statement, which is a transaction by itself.
_INSERT_ROWS: Final = (
    f"INSERT INTO answers ({', '.join(_COLUMNS)}) "  # noqa: S608 (constant names)
    f"SELECT {', '.join(f'json_extract(value, {chr(39)}$.{name}{chr(39)})' for name in _COLUMNS)} "
    "FROM json_each(?) WHERE true ON CONFLICT DO NOTHING"
)


def make_inserter(engine: Engine) -> "PostgresInserter | SqliteInserter":
    """Return a function that commits records in one transaction; used by one thread."""
    return SqliteInserter(engine) if engine.dialect.name == "sqlite" else PostgresInserter(engine)


class PostgresInserter:
    """Inserts with a connection of the pool."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(self, records: Sequence[HistoryRecord]) -> None:
        rows = cast(list[dict[str, Any]], records)
        with self._engine.begin() as connection:
            connection.execute(postgresql.insert(answers).on_conflict_do_nothing(), rows)
            if thumbnails := _thumbnails(records):
                connection.execute(postgresql.insert(pictures).on_conflict_do_nothing(), thumbnails)

    def close(self) -> None:
        """Do nothing: connections return to the pool after each call."""


class SqliteInserter:
    """Keeps its connection: taking one from the pool costs as much as storing two rows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._raw: PoolProxiedConnection | None = None

    def __call__(self, records: Sequence[HistoryRecord]) -> None:
        rows = to_json([_row(one) for one in records])
        if thumbnails := _thumbnails(records):
            with self._engine.begin() as connection:
                connection.exec_driver_sql(_INSERT_ROWS, (rows,))
                connection.execute(sqlite.insert(pictures).on_conflict_do_nothing(), thumbnails)
            return
        self._raw = self._raw or self._engine.raw_connection()
        self._raw.cursor().execute(_INSERT_ROWS, (rows,))

    def close(self) -> None:
        if self._raw is not None:
            self._raw.close()
            self._raw = None


def _row(record: HistoryRecord) -> dict[str, Any]:
    time = record["time"].astimezone(UTC).replace(tzinfo=None)
    return {**record, "time": time.isoformat(" ", "microseconds"), "thumbnail": None}


def _thumbnails(records: Sequence[HistoryRecord]) -> list[dict[str, Any]]:
    rows = ({"id": one["id"], "webp": one["thumbnail"]} for one in records)
    return [row for row in rows if row["webp"] is not None]
