"""Create the table of classifications by shadows."""

import sqlalchemy as sa
from alembic import op

from backend.history.tables import Ulid

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "shadows",
        sa.Column("id", Ulid, sa.ForeignKey("answers.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("prediction", sa.Text, nullable=False),
        sa.Column("confidence", sa.Float, nullable=False),
        sa.Column("in_distribution", sa.Boolean),
        sa.Column("milliseconds", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("shadows")
