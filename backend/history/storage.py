"""Where the history is stored, what it contains, and for how long."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE: Final = "history.db"
_SQLITE: Final = "sqlite:///"


@dataclass(frozen=True, slots=True)
class HistoryStorage:
    """How classifications are stored.

    `images` is whether a small copy of each image is stored; `days` after which a classification is
    deleted, None for never; `file` that of SQLite, None for PostgreSQL.
    """

    images: bool
    days: int | None
    file: Path | None


def sqlite_file(url: str, folder: Path) -> Path | None:
    """Return the file of the database at `url` (empty: in `folder`); None for PostgreSQL."""
    if not url:
        return folder / FILE
    return Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None
