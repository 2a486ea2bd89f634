"""SQL queries of the history."""

from dataclasses import replace
from datetime import datetime
from math import ceil
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Float,
    FromClause,
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
from backend.history.tables import answers, pictures, shadows

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # digits of ids (Crockford's base 32)
_HAS_FEEDBACK: Final = answers.c.corrected_at.is_not(None)


def _is_rejected(answer: FromClause) -> ColumnElement[bool]:
    return answer.c.in_distribution.is_(False)


def _is_right(answer: FromClause) -> ColumnElement[bool]:
    """Return whether the feedback confirms an answer, of the model or of its shadow.

    The answer to a rejected image is that it shows none of the model's classes.
    """
    rejected = _is_rejected(answer)
    is_none = or_(answers.c.none_of_these, answers.c.correction_model.is_not(None))
    is_label = func.coalesce(answers.c.correction, "") == answer.c.prediction
    return or_(and_(rejected, is_none), and_(~rejected, is_label))


_IS_CONFIRMED: Final = _is_right(answers)


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


def shadow_counts_query(
    model: str, active: str, version: str, since: datetime, limit: int
) -> Select[Any]:
    """Select the `ShadowCounts` of the newest `limit` images of a shadow.

    It is `version` of the model, and is compared with the version `active`.
    """
    rejected, shadow_rejected = _is_rejected(answers), _is_rejected(shadows)
    is_equal = or_(
        and_(rejected, shadow_rejected),
        and_(~rejected, ~shadow_rejected, answers.c.prediction == shadows.c.prediction),
    )
    right, shadow_right = _IS_CONFIRMED, _is_right(shadows)
    cases = {
        "equal": is_equal,
        "both_right": and_(_HAS_FEEDBACK, right, shadow_right),
        "only_active_right": and_(_HAS_FEEDBACK, right, ~shadow_right),
        "only_shadow_right": and_(_HAS_FEEDBACK, ~right, shadow_right),
        "both_wrong": and_(_HAS_FEEDBACK, ~right, ~shadow_right),
    }
    columns = [case((each, 1), else_=0).label(name) for name, each in cases.items()]
    rows = _of_shadow(select(*columns), model, active, version, since).limit(limit).subquery()
    sums = [func.coalesce(func.sum(rows.c[name]), 0).label(name) for name in cases]
    return select(func.count().label("images"), *sums).select_from(rows)


def shadow_samples_query(
    model: str, active: str, version: str, since: datetime, limit: int
) -> Select[Any]:
    """Select the `ShadowSample` of the newest `limit` images of a shadow, as above."""
    timings = answers.c.timings
    columns = (
        answers.c.confidence,
        shadows.c.confidence,
        timings["decode"].as_float() + timings["inference"].as_float(),
        shadows.c.milliseconds,
    )
    return _of_shadow(select(*columns), model, active, version, since).limit(limit)


def _of_shadow(
    query: Select[Any], model: str, active: str, version: str, since: datetime
) -> Select[Any]:
    """Select from the images of a shadow, the newest first."""
    return (
        query.join_from(shadows, answers, shadows.c.id == answers.c.id)
        .where(
            shadows.c.id >= first_id(since),
            shadows.c.version == version,
            answers.c.version == active,
            answers.c.model == model,
        )
        .order_by(shadows.c.id.desc())
    )


def newest_query(filters: HistoryFilters, version: str) -> Select[Any]:
    """Select the id of the newest classification of a version."""
    return select(func.max(answers.c.id)).where(answers.c.version == version, *_conditions(filters))


def day_query(filters: HistoryFilters, version: str) -> Select[Any]:
    """Select the number of classifications of a version, from an index."""
    return select(func.count()).where(answers.c.version == version, *_conditions(filters))


def feedback_query(filters: HistoryFilters, version: str) -> Select[Any]:
    """Select the number of answers with feedback, and of those that it confirms."""
    confirmed = func.coalesce(func.sum(case((_IS_CONFIRMED, 1), else_=0)), 0)
    conditions = _conditions(replace(filters, corrected=True))
    return select(func.count(), confirmed).where(answers.c.version == version, *conditions)


def means_query(
    filters: HistoryFilters, version: str, coverage: float | None, share: float
) -> Select[Any]:
    """Select `Means` of about a random `share` of a version."""
    rejected = answers.c.in_distribution
    known = (
        answers.c.confidence,
        case((answers.c.coverage == coverage, func.json_array_length(answers.c.prediction_set))),
        case((rejected.is_(False), 1), (rejected.is_(True), 0)),
        answers.c.brightness,
        cast(answers.c.width, Float) * answers.c.height,
    )
    means = (func.avg(one) for one in known)
    return select(func.count(), *means).where(*_sample(filters, version, share))


def labels_query(filters: HistoryFilters, version: str, share: float, limit: int) -> Select[Any]:
    """Select the `limit` most frequent predictions of the same sample, and their numbers."""
    count = func.count()
    return (
        select(answers.c.prediction, count)
        .where(*_sample(filters, version, share))
        .group_by(answers.c.prediction)
        .order_by(count.desc(), answers.c.prediction)
        .limit(limit)
    )


def _sample(filters: HistoryFilters, version: str, share: float) -> list[ColumnElement[bool]]:
    conditions = [answers.c.version == version, *_conditions(filters)]
    if share < 1:  # the last digit of an id is random
        kept = ALPHABET[: max(ceil(share * len(ALPHABET)), 1)]
        conditions.append(func.substr(answers.c.id, 26).in_(list(kept)))
    return conditions


def _conditions(filters: HistoryFilters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    model: ColumnElement[str] = answers.c.model
    if filters.corrected or filters.wrong is not None:
        model = model.concat("")  # for the index of the few rows with feedback, not of the model
    for column, text in ((model, filters.model), (answers.c.prediction, filters.label)):
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
