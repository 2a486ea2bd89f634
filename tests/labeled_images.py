"""Labelled pictures for tests: sevens, some of which are said to be something else."""

import io
from collections.abc import Iterable, Mapping
from zipfile import ZipFile

from tests.images import encoded, seven

SEVEN = encoded(seven())
BROKEN = SEVEN[:90]


def zipped(files: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> bytes:
    """A zip of these files."""
    pairs = files.items() if isinstance(files, Mapping) else files
    out = io.BytesIO()
    with ZipFile(out, "w") as archive:
        for name, content in pairs:
            archive.writestr(name, content)
    return out.getvalue()


def sevens(right: int, called_one: int = 0, called_two: int = 0, broken: int = 0) -> bytes:
    """A zip of sevens: so many in the folder 7, so many in 1 and 2, so many damaged."""
    counts = {"7": right, "1": called_one, "2": called_two}
    files = [
        (f"{label}/{number:05d}.png", SEVEN)
        for label, count in counts.items()
        for number in range(count)
    ]
    return zipped(files + [(f"7/broken{number}.png", BROKEN) for number in range(broken)])
