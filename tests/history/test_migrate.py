"""The tables are made once, whoever comes first, and are what the code thinks they are."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from backend.history import database, migrate, tables
from backend.history.errors import HistoryUnavailableError
from backend.history.store import Store
from tests.conftest import ROOT
from tests.history.work import made

AT_ONCE = 4
PREPARE = """
import sys
from pathlib import Path
from backend.history.search import Search
from backend.history.store import Store

store = Store(sys.argv[1], Path(sys.argv[2]))
print("imported", flush=True)
sys.stdin.read()
store.prepare()
store.page(Search(), 1)
"""


def test_migrations_make_the_tables_of_the_code_from_nothing_and_again(
    url: str, tmp_path: Path
) -> None:
    engine = database.open_engine(url, tmp_path)
    for _ in range(2):
        database.prepare(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    engine.dispose()


def test_the_newest_migration_is_the_one_that_the_code_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "backend/history/migrations"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == tables.NEWEST


def test_several_that_start_at_once_do_not_collide(url: str, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PREPARE, url, str(tmp_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(AT_ONCE)
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
    assert [process.returncode for process in processes] == [0] * AT_ONCE


def test_a_migration_that_is_cut_off_leaves_nothing_behind(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(url, tmp_path)
    upgrade = migrate.upgrade

    def cut_off(connection: object) -> None:
        upgrade(connection)  # type: ignore[arg-type]
        raise OSError("no space left")

    monkeypatch.setattr(migrate, "upgrade", cut_off)
    with pytest.raises(HistoryUnavailableError):
        store.prepare()
    monkeypatch.undo()
    store.prepare()
    assert store.add([made()]) == set()
    store.close()


def test_tables_of_a_newer_version_are_left_alone(url: str, tmp_path: Path) -> None:
    store = Store(url, tmp_path)
    store.prepare()
    engine = database.open_engine(url, tmp_path)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(HistoryUnavailableError):
        store.prepare()
    store.close()


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    store = Store("", tmp_path / "new" / "folder")
    store.prepare()
    assert (tmp_path / "new" / "folder" / "history.db").stat().st_mode & 0o077 == 0
    store.close()
