"""Migrations create the tables of the code, once, also with concurrent starts."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, inspect, text

from backend.history import database, tables
from backend.history.errors import HistoryUnavailableError
from backend.history.record import HistoryFilters
from backend.history.store import Store
from tests.conftest import ROOT
from tests.history.records import make_record

PROCESSES = 4
PREPARE = """
import sys
from pathlib import Path
from backend.history.record import HistoryFilters
from backend.history.store import Store

store = Store(sys.argv[1], Path(sys.argv[2]))
print("imported", flush=True)
sys.stdin.read()
store.prepare()
store.page(HistoryFilters(), 1)
"""


def test_migrations_create_the_tables_of_the_code(url: str, tmp_path: Path) -> None:
    engine = database.open_engine(url, tmp_path)
    for _ in range(2):
        database.prepare(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    engine.dispose()


def test_feedback_of_an_older_database_is_kept(url: str, tmp_path: Path) -> None:
    engine = database.open_engine(url, tmp_path)
    record = make_record()
    newer = {"thumbnail", "width", "height", "brightness", "labels"}
    columns = {name: value for name, value in record.items() if name not in newer}
    feedback = {"correction": "1", "corrected_at": record["time"]}
    with engine.begin() as connection:
        database.upgrade(connection, "0001")
        connection.execute(insert(tables.answers).values(columns | feedback))
        columns_before = {one["name"] for one in inspect(connection).get_columns("answers")}
        assert "none_of_these" not in columns_before
    engine.dispose()
    store = Store(url, tmp_path)
    store.prepare()
    (stored,) = store.page(HistoryFilters(corrected=True, wrong=True), 10)
    assert (stored["correction"], stored["corrected_at"]) == ("1", record["time"])
    assert (stored["correction_model"], stored["none_of_these"]) == (None, False)
    store.close()


def test_newest_is_the_head_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "backend/history/migrations"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == tables.NEWEST


def test_concurrent_starts_do_not_collide(url: str, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PREPARE, url, str(tmp_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"imported\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    for process in processes:
        process.wait(timeout=60)
        assert process.stdout is not None
        process.stdout.close()
    assert [process.returncode for process in processes] == [0] * PROCESSES


def test_interrupted_migration_is_rolled_back(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(url, tmp_path)
    upgrade = database.upgrade

    def fail_afterwards(connection: object) -> None:
        upgrade(connection)  # type: ignore[arg-type]
        raise OSError("no space left")

    monkeypatch.setattr(database, "upgrade", fail_afterwards)
    with pytest.raises(HistoryUnavailableError):
        store.prepare()
    monkeypatch.undo()
    store.prepare()
    assert store.add([make_record()]) == set()
    store.close()


def test_newer_tables_are_not_modified(url: str, tmp_path: Path) -> None:
    store = Store(url, tmp_path)
    store.prepare()
    engine = database.open_engine(url, tmp_path)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(HistoryUnavailableError):
        store.prepare()
    store.close()


def test_database_file_is_private(tmp_path: Path) -> None:
    store = Store("", tmp_path / "new" / "folder")
    store.prepare()
    assert (tmp_path / "new" / "folder" / "history.db").stat().st_mode & 0o077 == 0
    store.close()
