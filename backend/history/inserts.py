"""How records get into the tables: each database's quickest way.

Those whose id is there already were stored by an earlier try.
"""

from collections.abc import Sequence
from datetime import UTC
from typing import Any, Final, Protocol, cast

import orjson
from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy.dialects import postgresql, sqlite

from backend.history.record import Record
from backend.history.tables import answers, pictures

_NAMES: Final = [column.name for column in answers.c if not column.name.startswith("correct")]
# Whenever SQLite is called, a thread lets go of the interpreter's lock, and then fights the event
# loop for it: a call for each row, a beginning and an end would cost a quarter of all answers. So
# all rows are one JSON text and one statement, which is a transaction by itself.
_AT_ONCE: Final = (
    f"INSERT INTO answers ({', '.join(_NAMES)}) "  # noqa: S608 (our own names)
    f"SELECT {', '.join(f'json_extract(value, {chr(39)}$.{name}{chr(39)})' for name in _NAMES)} "
    "FROM json_each(?) WHERE true ON CONFLICT DO NOTHING"
)


class Insert(Protocol):
    """Commits records, all in one transaction; called by one thread."""

    def __call__(self, records: Sequence[Record]) -> None:
        """Commit them."""

    def close(self) -> None:
        """Give the connection back."""


def insert_into(engine: Engine) -> Insert:
    """What suits the database of `engine`."""
    return _IntoSqlite(engine) if engine.dialect.name == "sqlite" else _IntoPostgres(engine)


class _IntoPostgres:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(self, records: Sequence[Record]) -> None:
        rows = cast(list[dict[str, Any]], records)
        with self._engine.begin() as connection:
            connection.execute(postgresql.insert(answers).on_conflict_do_nothing(), rows)
            if shots := _pictures(records):
                connection.execute(postgresql.insert(pictures).on_conflict_do_nothing(), shots)

    def close(self) -> None:
        """Nothing is held."""


class _IntoSqlite:
    """Keeps its connection: to take one from the pool costs as much as to store two rows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._raw: PoolProxiedConnection | None = None

    def __call__(self, records: Sequence[Record]) -> None:
        rows = _json([_row(one) for one in records])
        if shots := _pictures(records):
            with self._engine.begin() as connection:
                connection.exec_driver_sql(_AT_ONCE, (rows,))
                connection.execute(sqlite.insert(pictures).on_conflict_do_nothing(), shots)
            return
        self._raw = self._raw or self._engine.raw_connection()
        self._raw.cursor().execute(_AT_ONCE, (rows,))

    def close(self) -> None:
        if self._raw is not None:
            self._raw.close()
            self._raw = None


def _json(rows: list[dict[str, Any]]) -> str:
    return orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _row(record: Record) -> dict[str, Any]:
    time = record["time"].astimezone(UTC).replace(tzinfo=None)
    return {**record, "time": time.isoformat(" ", "microseconds"), "picture": None}


def _pictures(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [
        {"id": one["id"], "webp": one["picture"]} for one in records if one["picture"] is not None
    ]
