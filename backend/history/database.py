"""Connections to SQLite and PostgreSQL, and migration of the tables.

To change the tables: edit `tables.py`, add a migration to `migrations/versions/`, and set
`tables.NEWEST` to its revision.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
from filelock import FileLock
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text

from backend.history.storage import sqlite_file
from backend.history.tables import NEWEST

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_TIMEOUT: Final = 5  # s for a connection, a lock, a statement
_ADVISORY_LOCK: Final = 7_739_166  # arbitrary, but unique within the database


def open_engine(url: str, folder: Path) -> Engine:
    """Return the engine for `url` (empty: SQLite in `folder`) without connecting."""
    file = sqlite_file("", folder)
    database_url = make_url(url) if url else URL.create("sqlite", database=str(file))
    if database_url.get_backend_name() == "sqlite":
        return _sqlite(database_url)
    return _postgres(database_url.set(drivername="postgresql+psycopg"))


def prepare(engine: Engine) -> None:
    """Create or migrate the tables, one process at a time. Idempotent."""
    with _file_lock(engine), engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
        upgrade(connection)


def upgrade(connection: Connection, revision: str = NEWEST) -> None:
    """Run the missing migrations up to `revision` within the transaction of `connection`."""
    if _revision(connection) == revision:
        return
    # Imported here to save 12 MB: most starts find nothing to migrate.
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, revision)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url, json_serializer=to_json, pool_timeout=_TIMEOUT, connect_args={"timeout": _TIMEOUT}
    )
    event.listen(engine, "connect", _on_sqlite_connect)
    event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _postgres(url: URL) -> Engine:
    limits: dict[str, Any] = {
        "connect_timeout": _TIMEOUT,
        "tcp_user_timeout": _TIMEOUT * 1000,
        "options": f"-c statement_timeout={_TIMEOUT}s",
    }
    return create_engine(
        url,
        json_serializer=to_json,
        pool_timeout=_TIMEOUT,
        pool_pre_ping=True,
        connect_args={name: limit for name, limit in limits.items() if name not in url.query},
    )


def _on_sqlite_connect(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # transactions of sqlite3 exclude DDL
    connection.execute("PRAGMA journal_mode=WAL")
    # In WAL mode commits survive the death of any process; only a power failure may lose the last
    # ones.
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")
    # SQLite's own lower() changes ASCII letters only.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _on_sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


@contextmanager
def _file_lock(engine: Engine) -> Iterator[None]:
    """Hold the lock file next to an SQLite database; PostgreSQL uses an advisory lock."""
    path = engine.url.database if engine.dialect.name == "sqlite" else None
    if not path or path == ":memory:":
        yield
        return
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=_TIMEOUT):
        file.touch(mode=0o600)  # private data of users
        yield


def to_json(value: object) -> str:
    """Return `value`, which may contain NumPy floats, as JSON."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
