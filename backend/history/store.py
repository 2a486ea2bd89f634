"""What is kept, in a database: written by one thread, read and corrected by any."""

import logging
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    SQLAlchemyError,
    StatementError,
)

from backend.history import database
from backend.history.errors import HistoryUnavailableError, NoImageError, UnknownAnswerError
from backend.history.filters import Day, Search
from backend.history.inserts import insert_into
from backend.history.queries import accuracy_query, kept_query, page_query
from backend.history.record import Kept, Record, first_id
from backend.history.tables import answers, pictures

log = logging.getLogger("prism.history")

_PORTION: Final = 500  # rows that one statement removes: others have their turn between them
_PAGE: Final = 500  # rows that are read at a time where all are wanted
_ID: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
# What is wrong with a row, and not with the database.
_BAD_ROW: Final = (
    *(DataError, IntegrityError, ValueError),
    *(sqlite3.DataError, sqlite3.IntegrityError),
)


class Store:
    """The answers in the database at `url` (empty: SQLite in `folder`).

    Every method raises HistoryUnavailableError where the database fails.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._engine = database.open_engine(url, folder)
        self._insert = insert_into(self._engine)

    def prepare(self) -> None:
        """Make the tables what they should be; can be done again and again."""
        try:
            database.prepare(self._engine)
        except Exception as error:  # of the lock file, of Alembic, of the disk
            raise HistoryUnavailableError from error

    def close(self) -> None:
        """Give the connections back."""
        self._insert.close()
        self._engine.dispose()

    def add(self, records: Sequence[Record]) -> set[str]:
        """Commit all in one transaction; the ids of those that the database will not have."""
        try:
            with _translated():
                self._insert(records)
        except (*_BAD_ROW, StatementError) as error:
            if len(records) > 1:
                return set[str]().union(*(self.add([one]) for one in records))
            log.warning("an answer cannot be stored: %s", _words(error))
            return {records[0]["id"]}
        return set()

    def get(self, answer_id: str) -> Kept:
        """One answer; raises UnknownAnswerError."""
        _require_id(answer_id)
        with self._connection() as connection:
            row = connection.execute(kept_query().where(answers.c.id == answer_id)).one_or_none()
        if row is None:
            raise UnknownAnswerError
        return _kept(row)

    def picture(self, answer_id: str) -> bytes:
        """The kept picture, WebP; raises UnknownAnswerError or NoImageError."""
        self.get(answer_id)
        with self._connection() as connection:
            found = connection.scalar(select(pictures.c.webp).where(pictures.c.id == answer_id))
        if found is None:
            raise NoImageError
        return cast(bytes, found)

    def page(self, search: Search, limit: int, before: str | None = None) -> list[Kept]:
        """The newest `limit` answers, of those older than the id `before`."""
        with self._connection() as connection:
            return [_kept(row) for row in connection.execute(page_query(search, limit, before))]

    def pages(self, search: Search) -> Iterator[list[Kept]]:
        """Every answer, the newest first, in portions: between them nothing is held up."""
        before = None
        while page := self.page(search, _PAGE, before):
            yield page
            before = page[-1]["id"]

    def accuracy(self, search: Search) -> list[Day]:
        """What the corrections say, by day, the newest first."""
        with self._connection() as connection:
            rows = connection.execute(accuracy_query(search)).all()
        return [Day(str(day), int(right), int(wrong)) for day, right, wrong in rows]

    def correct(self, answer_id: str, correction: str | None) -> Kept:
        """Keep what is right, or forget it (None); raises UnknownAnswerError."""
        _require_id(answer_id)
        at = datetime.now(UTC) if correction is not None else None
        with self._connection() as connection:
            connection.execute(
                update(answers)
                .where(answers.c.id == answer_id)
                .values(correction=correction, corrected_at=at)
            )
        return self.get(answer_id)

    def delete(self, answer_id: str) -> None:
        """Forget one answer; raises UnknownAnswerError."""
        _require_id(answer_id)
        with self._connection() as connection:
            if not connection.execute(delete(answers).where(answers.c.id == answer_id)).rowcount:
                raise UnknownAnswerError

    def delete_some(self, until: datetime) -> int:
        """Forget some of the answers older than `until`; how many, 0 once there are no more."""
        some = (
            select(answers.c.id)
            .where(answers.c.id < first_id(until))
            .order_by(answers.c.id)
            .limit(_PORTION)
        )
        with self._connection() as connection:
            return connection.execute(delete(answers).where(answers.c.id.in_(some))).rowcount

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A transaction."""
        with _translated(), self._engine.begin() as connection:
            yield connection


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _BAD_ROW:
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        if type(error) is StatementError:  # a value that cannot be written, whatever the database
            raise
        raise HistoryUnavailableError from error


def _kept(row: Row[Any]) -> Kept:
    return cast(Kept, row._asdict())


def _require_id(answer_id: str) -> None:
    if not _ID.fullmatch(answer_id):
        raise UnknownAnswerError


def _words(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(cause).split())
