"""The tables, as the newest migration leaves them."""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy import Boolean as Bool

NEWEST: Final = "0001"  # the migration that makes these tables


class Utc(TypeDecorator[datetime]):
    """An aware moment, written in UTC and without its zone: all databases compare those alike."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        return value and value.replace(tzinfo=UTC)


# Ids sort as their bytes do, whatever the language of the database.
Ulid: Final = String(26).with_variant(String(26, collation="C"), "postgresql")

metadata: Final = MetaData()

answers: Final = Table(
    "answers",
    metadata,
    Column("id", Ulid, primary_key=True),
    Column("time", Utc, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("prediction", Text, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("top", JSON, nullable=False),
    Column("prediction_set", JSON(none_as_null=True)),
    Column("coverage", Float),
    Column("in_distribution", Bool),
    Column("ood_score", Float),
    Column("timings", JSON, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("filename", Text),
    Column("correction", Text),
    Column("corrected_at", Utc),
)

pictures: Final = Table(
    "pictures",
    metadata,
    Column("id", Ulid, ForeignKey("answers.id", ondelete="CASCADE"), primary_key=True),
    Column("webp", LargeBinary, nullable=False),
)

# What few rows have is found without reading all; the rest is read in the order of the ids. Each
# index of what all rows have would add a quarter to what a row costs.
_corrected: Final = answers.c.correction.is_not(None)
Index("answers_corrected", answers.c.id, sqlite_where=_corrected, postgresql_where=_corrected)
_strange: Final = answers.c.in_distribution.is_(False)
Index("answers_strange", answers.c.id, sqlite_where=_strange, postgresql_where=_strange)
