"""SQL queries of the history."""

from typing import Any

from sqlalchemy import ColumnElement, Select, case, exists, false, func, select

from backend.history.record import HistoryFilters, first_id
from backend.history.tables import answers, pictures


def stored_query() -> Select[Any]:
    """Select all classifications as `StoredRecord`."""
    has_thumbnail = exists().where(pictures.c.id == answers.c.id).label("has_thumbnail")
    return select(answers, has_thumbnail)


def page_query(filters: HistoryFilters, limit: int, before: str | None) -> Select[Any]:
    """Select the newest `limit` classifications older than the id `before`."""
    query = stored_query().where(*_conditions(filters))
    if before is not None:
        query = query.where(answers.c.id < before)
    return query.order_by(answers.c.id.desc()).limit(limit)


def accuracy_query(filters: HistoryFilters) -> Select[Any]:
    """Select day, confirmed and corrected, newest day first."""
    day = func.date(answers.c.time)
    is_right = answers.c.correction == answers.c.prediction
    return (
        select(day, func.sum(case((is_right, 1), else_=0)), func.sum(case((is_right, 0), else_=1)))
        .where(answers.c.correction.is_not(None), *_conditions(filters))
        .group_by(day)
        .order_by(day.desc())
    )


def _conditions(filters: HistoryFilters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for column, text in ((answers.c.model, filters.model), (answers.c.prediction, filters.label)):
        if text is not None:
            # PostgreSQL rejects text that contains NUL.
            conditions.append(false() if "\0" in text else column == text)
    if filters.corrected is not None:
        is_corrected = answers.c.correction.is_not(None)
        conditions.append(is_corrected if filters.corrected else ~is_corrected)
    if filters.in_distribution is not None:
        conditions.append(answers.c.in_distribution.is_(filters.in_distribution))
    if filters.since is not None:
        conditions.append(answers.c.id >= first_id(filters.since))
    if filters.until is not None:
        conditions.append(answers.c.id < first_id(filters.until))
    return conditions
