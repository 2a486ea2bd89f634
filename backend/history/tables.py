"""The tables as of the newest migration."""

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

NEWEST: Final = "0001"  # revision of the newest migration


class Utc(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC without a zone: all databases compare it in the same way."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to the stored value."""
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert from the stored value."""
        return value and value.replace(tzinfo=UTC)


# Ids sort by their bytes, independent of the collation of the database.
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

# Partial indexes of rare values; all other filters scan the rows in the order of the ids. An index
# over all rows would raise the cost of an insertion by a quarter.
_corrected: Final = answers.c.correction.is_not(None)
Index("answers_corrected", answers.c.id, sqlite_where=_corrected, postgresql_where=_corrected)
_strange: Final = answers.c.in_distribution.is_(False)
Index("answers_strange", answers.c.id, sqlite_where=_strange, postgresql_where=_strange)
