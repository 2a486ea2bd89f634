"""How records get into the tables: each database's quickest way.

Those whose id is there already were stored by an earlier try.
"""

from collections.abc import Callable, Sequence
from datetime import UTC
from functools import partial
from typing import Any, Final, cast

import orjson
from sqlalchemy import Engine
from sqlalchemy.dialects import postgresql, sqlite

from backend.history.record import Record
from backend.history.tables import answers, pictures

Insert = Callable[[Sequence[Record]], None]

_NAMES: Final = [column.name for column in answers.c if not column.name.startswith("correct")]
# Whenever SQLite is called, a thread lets go of the interpreter's lock, and then fights the event
# loop for it: a call for each row, a beginning and an end would cost a quarter of all answers. So
# all rows are one JSON text and one statement, which is a transaction by itself.
_AT_ONCE: Final = (
    f"INSERT INTO answers ({', '.join(_NAMES)}) "  # noqa: S608 (our own names)
    f"SELECT {', '.join(f'json_extract(value, {chr(39)}$.{name}{chr(39)})' for name in _NAMES)} "
    "FROM json_each(?) WHERE true ON CONFLICT DO NOTHING"
)


def insert_into(engine: Engine) -> Insert:
    """What commits records to the database of `engine`, all in one transaction."""
    return partial(_into_sqlite if engine.dialect.name == "sqlite" else _into_postgres, engine)


def _into_postgres(engine: Engine, records: Sequence[Record]) -> None:
    with engine.begin() as connection:
        connection.execute(
            postgresql.insert(answers).on_conflict_do_nothing(), cast(list[dict[str, Any]], records)
        )
        if shots := _pictures(records):
            connection.execute(postgresql.insert(pictures).on_conflict_do_nothing(), shots)


def _into_sqlite(engine: Engine, records: Sequence[Record]) -> None:
    rows = orjson.dumps([_row(one) for one in records], option=orjson.OPT_SERIALIZE_NUMPY).decode()
    if shots := _pictures(records):
        with engine.begin() as connection:
            connection.exec_driver_sql(_AT_ONCE, (rows,))
            connection.execute(sqlite.insert(pictures).on_conflict_do_nothing(), shots)
        return
    raw = engine.raw_connection()
    try:
        raw.cursor().execute(_AT_ONCE, (rows,))
    finally:
        raw.close()


def _row(record: Record) -> dict[str, Any]:
    time = record["time"].astimezone(UTC).replace(tzinfo=None)
    return {**record, "time": time.isoformat(" ", "microseconds"), "picture": None}


def _pictures(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [
        {"id": one["id"], "webp": one["picture"]} for one in records if one["picture"] is not None
    ]
