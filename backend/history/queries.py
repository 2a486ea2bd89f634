"""Searches as queries."""

from typing import Any

from sqlalchemy import ColumnElement, Select, case, exists, false, func, select

from backend.history.filters import Search
from backend.history.record import first_id
from backend.history.tables import answers, pictures


def kept_query() -> Select[Any]:
    """Every answer, as `Kept`."""
    has_picture = exists().where(pictures.c.id == answers.c.id).label("has_picture")
    return select(answers, has_picture)


def page_query(search: Search, limit: int, before: str | None) -> Select[Any]:
    """The newest `limit` answers, of those older than the id `before`."""
    query = kept_query().where(*_conditions(search))
    if before is not None:
        query = query.where(answers.c.id < before)
    return query.order_by(answers.c.id.desc()).limit(limit)


def accuracy_query(search: Search) -> Select[Any]:
    """Day, confirmed, corrected; the newest day first."""
    day = func.date(answers.c.time)
    right = answers.c.correction == answers.c.prediction
    return (
        select(day, func.sum(case((right, 1), else_=0)), func.sum(case((right, 0), else_=1)))
        .where(answers.c.correction.is_not(None), *_conditions(search))
        .group_by(day)
        .order_by(day.desc())
    )


def _conditions(search: Search) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    for column, text in ((answers.c.model, search.model), (answers.c.prediction, search.label)):
        if text is not None:
            # PostgreSQL has no text with a zero in it.
            found.append(false() if "\0" in text else column == text)
    if search.corrected is not None:
        was = answers.c.correction.is_not(None)
        found.append(was if search.corrected else ~was)
    if search.in_distribution is not None:
        found.append(answers.c.in_distribution.is_(search.in_distribution))
    if search.since is not None:
        found.append(answers.c.id >= first_id(search.since))
    if search.until is not None:
        found.append(answers.c.id < first_id(search.until))
    return found
