"""Index the classifications of each model."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the index."""
    op.create_index("answers_model", "answers", ["model", "id", "version"])


def downgrade() -> None:
    """Remove the index."""
    op.drop_index("answers_model", "answers")
