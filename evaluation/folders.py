"""Folders that reports go to."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from evaluation.errors import ReportError


@contextmanager
def new_folder(out: Path | None, name: str) -> Iterator[Path]:
    """Make the folder `out`, or one named after `name` and the time; never one with a report.

    Where nothing comes to lie in it, it goes again. Raises ReportError where it cannot be made, or
    holds something.
    """
    if out is None:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "model"
        time = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        out = _free(Path(f"evaluation-{plain}-{time}"))
    try:
        is_new = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ReportError(f"{out} is not empty; name another folder with --out")
    except OSError as error:
        raise ReportError(f"{out} cannot be made: {error.strerror}") from error
    try:
        yield out
    finally:
        if is_new and not any(out.iterdir()):
            out.rmdir()


def _free(path: Path) -> Path:
    number = 2
    free = path
    while free.exists():
        free = path.with_name(f"{path.name}-{number}")
        number += 1
    return free
