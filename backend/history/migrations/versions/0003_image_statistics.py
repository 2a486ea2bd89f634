"""Add the size and the brightness of the image."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; they are null for older classifications."""
    op.add_column("answers", sa.Column("width", sa.Integer))
    op.add_column("answers", sa.Column("height", sa.Integer))
    op.add_column("answers", sa.Column("brightness", sa.Float))


def downgrade() -> None:
    """Remove the columns."""
    for name in ("brightness", "height", "width"):
        op.drop_column("answers", name)
