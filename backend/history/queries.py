"""SQL queries of the history."""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
)

from backend.history.record import HistoryFilters, first_id
from backend.history.tables import answers, pictures

_HAS_FEEDBACK: Final = answers.c.corrected_at.is_not(None)
_IS_REJECTED: Final = answers.c.in_distribution.is_(False)
# The answer to a rejected image is that it shows none of the model's classes.
_IS_CONFIRMED: Final = or_(
    and_(_IS_REJECTED, or_(answers.c.none_of_these, answers.c.correction_model.is_not(None))),
    and_(~_IS_REJECTED, func.coalesce(answers.c.correction, "") == answers.c.prediction),
)


def stored_query() -> Select[Any]:
    """Select all classifications as `StoredRecord`."""
    has_thumbnail = exists().where(pictures.c.id == answers.c.id).correlate(answers)
    return select(answers, has_thumbnail.label("has_thumbnail"))


def page_query(filters: HistoryFilters, limit: int, before: str | None) -> Select[Any]:
    """Select the newest `limit` classifications older than the id `before`."""
    query = stored_query().where(*_conditions(filters))
    if before is not None:
        query = query.where(answers.c.id < before)
    return query.order_by(answers.c.id.desc()).limit(limit)


def image_query(filters: HistoryFilters, limit: int, before: str | None) -> Select[Any]:
    """Select as `page_query` does, only classifications with a thumbnail, which is added."""
    return (
        page_query(filters, limit, before)
        .join(pictures, pictures.c.id == answers.c.id)
        .add_columns(pictures.c.webp)
    )


def batch_query(filters: HistoryFilters, limit: int) -> Select[Any]:
    """Select the ids of the oldest `limit` classifications."""
    conditions = _conditions(filters)
    return select(answers.c.id).where(*conditions).order_by(answers.c.id).limit(limit)


def count_query(filters: HistoryFilters, maximum: int) -> Select[Any]:
    """Select the number of classifications, at most `maximum`."""
    rows = select(answers.c.id).where(*_conditions(filters)).limit(maximum)
    return select(func.count()).select_from(rows.subquery())


def accuracy_query(filters: HistoryFilters, dialect: str) -> Select[Any]:
    """Select minute (UTC, YYYY-MM-DD HH:MM), confirmed and corrected.

    Days start at different minutes in different time zones, and no database knows them all.
    """
    if dialect == "sqlite":
        minute = func.strftime("%Y-%m-%d %H:%M", answers.c.time)
    else:
        minute = func.to_char(answers.c.time, "YYYY-MM-DD HH24:MI")
    confirmed = func.sum(case((_IS_CONFIRMED, 1), else_=0))
    return (
        select(minute.label("minute"), confirmed, func.count() - confirmed)
        .where(_HAS_FEEDBACK, *_conditions(filters))
        .group_by(literal_column("minute"))
    )


def observations_query(
    filters: HistoryFilters, version: str, limit: int, *, oldest: bool = False
) -> Select[Any]:
    """Select the newest or oldest `limit` classifications of a version as `Observation`."""
    order = answers.c.id if oldest else answers.c.id.desc()
    return (
        select(
            answers.c.id,
            answers.c.time,
            answers.c.prediction,
            answers.c.confidence,
            func.json_array_length(answers.c.prediction_set).label("set_size"),
            answers.c.coverage,
            answers.c.in_distribution,
            answers.c.ood_score,
            answers.c.brightness,
            (cast(answers.c.width, BigInteger) * answers.c.height).label("pixels"),
            answers.c.corrected_at,
            case((_HAS_FEEDBACK, _IS_CONFIRMED)).label("is_confirmed"),
        )
        .where(answers.c.version == version, *_conditions(filters))
        .order_by(order)
        .limit(limit)
    )


def version_query(filters: HistoryFilters) -> Select[Any]:
    """Select the version of the newest classification."""
    conditions = _conditions(filters)
    return select(answers.c.version).where(*conditions).order_by(answers.c.id.desc()).limit(1)


def _conditions(filters: HistoryFilters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for column, text in ((answers.c.model, filters.model), (answers.c.prediction, filters.label)):
        if text is not None:
            # PostgreSQL rejects text that contains NUL.
            conditions.append(false() if "\0" in text else column == text)
    if filters.search is not None:
        columns = (answers.c.filename, answers.c.prediction, answers.c.correction)
        found = (column.icontains(filters.search, autoescape=True) for column in columns)
        conditions.append(false() if "\0" in filters.search else or_(*found))
    if filters.corrected is not None:
        conditions.append(_HAS_FEEDBACK if filters.corrected else ~_HAS_FEEDBACK)
    if filters.wrong is not None:
        conditions += [_HAS_FEEDBACK, ~_IS_CONFIRMED if filters.wrong else _IS_CONFIRMED]
    if filters.in_distribution is not None:
        conditions.append(answers.c.in_distribution.is_(filters.in_distribution))
    if filters.since is not None:
        conditions.append(answers.c.id >= first_id(filters.since))
    if filters.until is not None:
        conditions.append(answers.c.id < first_id(filters.until))
    return conditions
