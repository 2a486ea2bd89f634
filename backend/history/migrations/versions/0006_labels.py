"""Add the labels of multi-label models."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; it is null for other models, and for older classifications."""
    op.add_column("answers", sa.Column("labels", sa.JSON))


def downgrade() -> None:
    """Remove the column."""
    op.drop_column("answers", "labels")
