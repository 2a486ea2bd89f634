"""The stored classifications: the writer inserts, any thread reads and updates."""

import logging
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from ulid import ULID

from backend.history import database
from backend.history.drift import (
    MAX_DAY_IMAGES,
    MAX_LABELS,
    MAX_REFERENCE,
    Day,
    Means,
    Observation,
    summarize_day,
)
from backend.history.errors import HistoryUnavailableError, NoImageError, UnknownClassificationError
from backend.history.inserts import make_inserter
from backend.history.queries import (
    accuracy_query,
    batch_query,
    count_query,
    day_query,
    feedback_query,
    image_query,
    labels_query,
    means_query,
    newest_query,
    observations_query,
    page_query,
    shadow_counts_query,
    shadow_samples_query,
    stored_query,
    version_query,
)
from backend.history.record import (
    DailyAccuracy,
    Feedback,
    HistoryFilters,
    HistoryRecord,
    StoredRecord,
)
from backend.history.shadows import (
    ShadowComparison,
    ShadowCounts,
    ShadowRecord,
    ShadowSample,
    compare,
)
from backend.history.tables import answers, pictures, shadows

log = logging.getLogger("prism.history")

_DELETE_BATCH: Final = 500  # rows per statement, so that other statements can run in between
_PAGE_SIZE: Final = 500  # rows per query when all are read
_MAX_SHADOW_IMAGES: Final = 100_000  # the newest images are compared
_MAX_SHADOW_SAMPLES: Final = 10_000  # of the newest images medians are computed
_IMAGES_PAGE_SIZE: Final = 50  # rows with thumbnails per query, about 1 MB
MAX_DAYS: Final = 366  # days that are summarized at once
_ID: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
# Errors of a row, not of the database.
_BAD_ROW: Final = (DataError, IntegrityError, sqlite3.DataError, sqlite3.IntegrityError, ValueError)


class Store:
    """The classifications in the database at `url` (empty: SQLite in `folder`).

    All methods raise HistoryUnavailableError if the database fails.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._engine = database.open_engine(url, folder)
        self._insert = make_inserter(self._engine)

    def prepare(self) -> None:
        """Create or migrate the tables. Idempotent."""
        try:
            database.prepare(self._engine)
            self._insert.prepare()
        except Exception as error:  # lock file, Alembic or disk
            raise HistoryUnavailableError from error

    def close(self) -> None:
        """Close all connections."""
        self._insert.close()
        self._engine.dispose()

    def add(self, records: Sequence[HistoryRecord]) -> set[str]:
        """Commit `records` in one transaction; return the ids that the database rejects."""
        try:
            with _translate_errors():
                self._insert(records)
        except (*_BAD_ROW, StatementError) as error:
            if len(records) > 1:
                return set[str]().union(*(self.add([one]) for one in records))
            log.warning("a classification cannot be stored: %s", _message(error))
            return {records[0]["id"]}
        return set()

    def add_now(self, records: Sequence[HistoryRecord]) -> bool:
        """Commit `records` on the event loop if that takes no waiting; return whether it did.

        It does not with PostgreSQL, with thumbnails, while the database is locked, and on errors.
        """
        return self._insert.insert_now(records)

    def get(self, classification_id: str) -> StoredRecord:
        """Return one classification; raise UnknownClassificationError."""
        _check_id(classification_id)
        query = stored_query().where(answers.c.id == classification_id)
        with self._connection() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise UnknownClassificationError
        return _stored(row)

    def image(self, classification_id: str) -> bytes:
        """Return the thumbnail (WebP); raise UnknownClassificationError or NoImageError."""
        self.get(classification_id)
        query = select(pictures.c.webp).where(pictures.c.id == classification_id)
        with self._connection() as connection:
            webp = connection.scalar(query)
        if webp is None:
            raise NoImageError
        return cast(bytes, webp)

    def page(
        self, filters: HistoryFilters, limit: int, before: str | None = None
    ) -> list[StoredRecord]:
        """Return the newest `limit` classifications older than the id `before`."""
        with self._connection() as connection:
            return [_stored(row) for row in connection.execute(page_query(filters, limit, before))]

    def pages(self, filters: HistoryFilters) -> Iterator[list[StoredRecord]]:
        """Yield all classifications, newest first, in pages; no transaction is open in between."""
        before = None
        while page := self.page(filters, _PAGE_SIZE, before):
            yield page
            before = page[-1]["id"]

    def images(self, filters: HistoryFilters) -> Iterator[list[tuple[StoredRecord, bytes]]]:
        """Yield all classifications with a thumbnail, newest first, in pages."""
        before = None
        while True:
            with self._connection() as connection:
                rows = connection.execute(image_query(filters, _IMAGES_PAGE_SIZE, before)).all()
            if not rows:
                return
            yield [(_stored(row), row.webp) for row in rows]
            before = rows[-1].id

    def count(self, filters: HistoryFilters, maximum: int) -> int:
        """Return the number of classifications, at most `maximum`."""
        with self._connection() as connection:
            return connection.scalar(count_query(filters, maximum)) or 0

    def accuracy(self, filters: HistoryFilters, zone: tzinfo = UTC) -> list[DailyAccuracy]:
        """Return the accuracy according to the feedback, by day in `zone`, newest first."""
        query = accuracy_query(filters, self._engine.dialect.name)
        with self._connection() as connection:
            rows = connection.execute(query).all()
        days: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for minute, right, wrong in rows:
            time = datetime.fromisoformat(minute).replace(tzinfo=UTC)
            day = days[time.astimezone(zone).date().isoformat()]
            day[0] += int(right)
            day[1] += int(wrong)
        return [DailyAccuracy(day, *counts) for day, counts in sorted(days.items(), reverse=True)]

    def newest_version(self, model: str) -> str | None:
        """Return the version of the newest classification of a model; None without any."""
        with self._connection() as connection:
            version: str | None = connection.scalar(version_query(HistoryFilters(model=model)))
        return version

    def observations(self, filters: HistoryFilters, version: str, limit: int) -> list[Observation]:
        """Return the newest `limit` classifications of a version, oldest first.

        If there are more, the reference, the first `MAX_REFERENCE` of all, precedes them.
        """
        with self._connection() as connection:
            newest = connection.execute(observations_query(filters, version, limit)).all()[::-1]
            first: Sequence[Row[Any]] = []
            if len(newest) == limit:
                query = observations_query(filters, version, MAX_REFERENCE, oldest=True)
                first = connection.execute(query).all()
        rows = [*(row for row in first if row.id < newest[0].id), *newest]
        return [_observation(row) for row in rows]

    def days(
        self, filters: HistoryFilters, version: str, coverage: float | None, zone: tzinfo
    ) -> list[Day]:
        """Return the means of a version by day in `zone`, the newest first, at most `MAX_DAYS`.

        `coverage` is that of the prediction sets whose size is averaged.
        """
        days: list[Day] = []
        with self._connection() as connection:
            while len(days) < MAX_DAYS and (
                newest := connection.scalar(newest_query(filters, version))
            ):
                time = ULID.from_str(newest).datetime
                day = time.astimezone(zone).date()
                start = min(datetime.combine(day, datetime.min.time(), zone), time)
                since = max(start, filters.since or start)
                one_day = replace(filters, since=since)
                images = connection.scalar(day_query(one_day, version)) or 0
                share = MAX_DAY_IMAGES / max(images, 1)
                query = means_query(one_day, version, coverage, share)
                sample = Means._make(connection.execute(query).one())
                query = labels_query(one_day, version, share, MAX_LABELS)
                labels = [(label, count) for label, count in connection.execute(query)]
                reviewed, confirmed = connection.execute(feedback_query(one_day, version)).one()
                days.append(
                    summarize_day(
                        day.isoformat(), images, sample, labels, int(reviewed), int(confirmed)
                    )
                )
                filters = replace(filters, until=start)
        return days

    def add_shadows(self, records: Sequence[ShadowRecord]) -> None:
        """Commit classifications by shadows; ignore those whose classification is deleted."""
        try:
            with self._connection() as connection:
                connection.execute(insert(shadows), list(records))
        except (*_BAD_ROW, StatementError):
            if len(records) > 1:
                for one in records:
                    self.add_shadows([one])

    def compare_shadow(
        self, model: str, active: str, version: str, since: datetime
    ) -> ShadowComparison:
        """Compare a shadow with the active version of a model on the newest images since a time."""
        counts_query = shadow_counts_query(model, active, version, since, _MAX_SHADOW_IMAGES)
        samples_query = shadow_samples_query(model, active, version, since, _MAX_SHADOW_SAMPLES)
        with self._connection() as connection:
            counts = ShadowCounts(*map(int, connection.execute(counts_query).one()))
            samples = [ShadowSample(*row) for row in connection.execute(samples_query)]
        return compare(counts, samples)

    def set_feedback(self, classification_id: str, feedback: Feedback) -> StoredRecord:
        """Replace the feedback; raise UnknownClassificationError."""
        _check_id(classification_id)
        statement = update(answers).where(answers.c.id == classification_id)
        with self._connection() as connection:
            connection.execute(statement.values(**feedback))
        return self.get(classification_id)

    def delete(self, classification_id: str) -> None:
        """Delete one classification; raise UnknownClassificationError."""
        _check_id(classification_id)
        statement = delete(answers).where(answers.c.id == classification_id)
        with self._connection() as connection:
            if not connection.execute(statement).rowcount:
                raise UnknownClassificationError

    def delete_some(self, filters: HistoryFilters) -> int:
        """Delete a batch of classifications, the oldest first; return their number."""
        statement = delete(answers).where(answers.c.id.in_(batch_query(filters, _DELETE_BATCH)))
        with self._connection() as connection:
            return connection.execute(statement).rowcount

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Open a transaction."""
        with _translate_errors(), self._engine.begin() as connection:
            yield connection


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except _BAD_ROW:
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        if type(error) is StatementError:  # an invalid value, with any database
            raise
        raise HistoryUnavailableError from error


def _stored(row: Row[Any]) -> StoredRecord:
    return cast(StoredRecord, row._asdict())


def _observation(row: Row[Any]) -> Observation:
    observation = Observation._make(row)
    if observation.is_confirmed is None:
        return observation
    return observation._replace(is_confirmed=bool(observation.is_confirmed))


def _check_id(classification_id: str) -> None:
    if not _ID.fullmatch(classification_id):
        raise UnknownClassificationError


def _message(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(cause).split())
