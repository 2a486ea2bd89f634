"""Create the tables of classifications and thumbnails."""

import sqlalchemy as sa
from alembic import op

from backend.history.tables import Ulid, Utc

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "answers",
        sa.Column("id", Ulid, primary_key=True),
        sa.Column("time", Utc, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("prediction", sa.Text, nullable=False),
        sa.Column("confidence", sa.Float, nullable=False),
        sa.Column("top", sa.JSON, nullable=False),
        sa.Column("prediction_set", sa.JSON),
        sa.Column("coverage", sa.Float),
        sa.Column("in_distribution", sa.Boolean),
        sa.Column("ood_score", sa.Float),
        sa.Column("timings", sa.JSON, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("filename", sa.Text),
        sa.Column("correction", sa.Text),
        sa.Column("corrected_at", Utc),
    )
    op.create_table(
        "pictures",
        sa.Column("id", Ulid, sa.ForeignKey("answers.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("webp", sa.LargeBinary, nullable=False),
    )
    for name, condition in (
        ("answers_corrected", sa.text("correction IS NOT NULL")),
        ("answers_strange", sa.text("in_distribution IS false")),
    ):
        op.create_index(name, "answers", ["id"], sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("pictures")
    op.drop_table("answers")
