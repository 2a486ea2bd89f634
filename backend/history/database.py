"""A database by its URL: SQLite or PostgreSQL, made ready for several processes at once."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
from filelock import FileLock
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text

from backend.history import migrate

FILE: Final = "history.db"

_PATIENCE: Final = 5  # seconds for a connection, a lock, one statement
_ADVISORY_LOCK: Final = 7_739_166  # any number that nobody else uses in this database


def open_engine(url: str, folder: Path) -> Engine:
    """The engine for `url` (empty: SQLite in `folder`); nothing is opened yet."""
    given = make_url(url) if url else URL.create("sqlite", database=str(folder / FILE))
    if given.get_backend_name() == "sqlite":
        return _sqlite(given)
    return _postgres(given.set(drivername="postgresql+psycopg"))


def prepare(engine: Engine) -> None:
    """Make the tables what they should be, one process at a time; can be done again and again."""
    with _alone(engine), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
        migrate.upgrade(connection)


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url, json_serializer=_json, pool_timeout=_PATIENCE, connect_args={"timeout": _PATIENCE}
    )
    event.listen(engine, "connect", _on_sqlite_connect)
    event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _postgres(url: URL) -> Engine:
    limits: dict[str, Any] = {
        "connect_timeout": _PATIENCE,
        "tcp_user_timeout": _PATIENCE * 1000,
        "options": f"-c statement_timeout={_PATIENCE}s",
    }
    return create_engine(
        url,
        json_serializer=_json,
        pool_timeout=_PATIENCE,
        pool_pre_ping=True,
        connect_args={name: limit for name, limit in limits.items() if name not in url.query},
    )


def _on_sqlite_connect(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # Python's own transactions leave out what makes tables
    connection.execute("PRAGMA journal_mode=WAL")
    # In WAL what was committed survives the end of any process; only a loss of power may take the
    # last of it.
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _on_sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Hold the lock file beside an SQLite database; PostgreSQL has locks of its own."""
    path = engine.url.database if engine.dialect.name == "sqlite" else None
    if not path or path == ":memory:":
        yield
        return
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=_PATIENCE):
        file.touch(mode=0o600)  # what people sent is nobody else's business
        yield


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
