"""Add the model of a correction and the feedback that no label is right."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; index all feedback instead of corrections only."""
    op.add_column("answers", sa.Column("correction_model", sa.Text))
    op.add_column(
        "answers",
        sa.Column("none_of_these", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    _replace_index("answers_corrected", "answers_feedback", "corrected_at IS NOT NULL")


def downgrade() -> None:
    """Remove the columns; feedback that no label is right is lost."""
    _replace_index("answers_feedback", "answers_corrected", "correction IS NOT NULL")
    op.drop_column("answers", "none_of_these")
    op.drop_column("answers", "correction_model")


def _replace_index(old: str, new: str, condition: str) -> None:
    op.drop_index(old, "answers")
    where = sa.text(condition)
    op.create_index(new, "answers", ["id"], sqlite_where=where, postgresql_where=where)
