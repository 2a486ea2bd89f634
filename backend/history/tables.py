"""The tables as of the newest migration."""

from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Column

NEWEST: Final = "0006"  # revision of the newest migration


class Utc(sa.TypeDecorator[datetime]):
    """An aware datetime, stored in UTC without a zone: all databases compare it in the same way."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Convert to the stored value."""
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Convert from the stored value."""
        return value and value.replace(tzinfo=UTC)


# Ids sort by their bytes, independent of the collation of the database.
Ulid: Final = sa.String(26).with_variant(sa.String(26, collation="C"), "postgresql")

metadata: Final = sa.MetaData()

answers: Final = sa.Table(
    "answers",
    metadata,
    Column("id", Ulid, primary_key=True),
    Column("time", Utc, nullable=False),
    Column("model", sa.Text, nullable=False),
    Column("version", sa.Text, nullable=False),
    Column("prediction", sa.Text, nullable=False),
    Column("confidence", sa.Float, nullable=False),
    Column("top", sa.JSON, nullable=False),
    Column("labels", sa.JSON(none_as_null=True)),
    Column("prediction_set", sa.JSON(none_as_null=True)),
    Column("coverage", sa.Float),
    Column("in_distribution", sa.Boolean),
    Column("ood_score", sa.Float),
    Column("timings", sa.JSON, nullable=False),
    Column("sha256", sa.String(64), nullable=False),
    Column("filename", sa.Text),
    Column("width", sa.Integer),
    Column("height", sa.Integer),
    Column("brightness", sa.Float),
    Column("correction", sa.Text),
    Column("corrected_at", Utc),  # time of the feedback of any kind
    Column("correction_model", sa.Text),  # null: the model of the classification
    Column("none_of_these", sa.Boolean, nullable=False, server_default=sa.false()),
)

pictures: Final = sa.Table(
    "pictures",
    metadata,
    Column("id", Ulid, sa.ForeignKey("answers.id", ondelete="CASCADE"), primary_key=True),
    Column("webp", sa.LargeBinary, nullable=False),
)

# Of the same image by the shadow of the model, whose active version has classified it.
shadows: Final = sa.Table(
    "shadows",
    metadata,
    Column("id", Ulid, sa.ForeignKey("answers.id", ondelete="CASCADE"), primary_key=True),
    Column("version", sa.Text, nullable=False),
    Column("prediction", sa.Text, nullable=False),
    Column("confidence", sa.Float, nullable=False),
    Column("in_distribution", sa.Boolean),
    Column("milliseconds", sa.Float, nullable=False),
)

# Drift reads the classifications of one version in the order of the ids.
sa.Index("answers_model", answers.c.model, answers.c.id, answers.c.version)
# Partial indexes of rare values; all other filters scan the rows in the order of the ids: more
# indexes over all rows would raise the cost of an insertion.
_feedback: Final = answers.c.corrected_at.is_not(None)
sa.Index("answers_feedback", answers.c.id, sqlite_where=_feedback, postgresql_where=_feedback)
_strange: Final = answers.c.in_distribution.is_(False)
sa.Index("answers_strange", answers.c.id, sqlite_where=_strange, postgresql_where=_strange)
