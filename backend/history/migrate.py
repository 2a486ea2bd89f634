"""Bring the tables to the newest shape.

A new shape: change `tables.py`, add a file to `migrations/versions/`, name it in `tables.NEWEST`.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from backend.history.tables import NEWEST

_FOLDER = Path(__file__).parent / "migrations"


def upgrade(connection: Connection) -> None:
    """Run the migrations that are missing, within the transaction of `connection`."""
    if _version(connection) == NEWEST:
        return
    # Imported here: most starts find nothing to do, and spare its 12 MB.
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found
