"""Stores on SQLite and PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.history.store import Store
from tests.history.postgres import Postgres, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server shared by all tests."""
    with running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'history.db'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.create(f"of_{abs(hash(str(tmp_path)))}")


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """A prepared store on SQLite, for what does not depend on the database."""
    store = Store("", tmp_path)
    store.prepare()
    yield store
    store.close()


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[Store]:
    """A prepared store."""
    store = Store(url, tmp_path)
    store.prepare()
    yield store
    store.close()
