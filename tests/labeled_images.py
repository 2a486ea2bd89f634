"""Labeled images for tests: sevens, some of them with a wrong label."""

import io
from collections.abc import Iterable, Mapping
from zipfile import ZipFile

from tests.images import encoded, seven

SEVEN = encoded(seven())
BROKEN = SEVEN[:90]


def zipped(files: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> bytes:
    """Return a zip archive of the files."""
    pairs = files.items() if isinstance(files, Mapping) else files
    out = io.BytesIO()
    with ZipFile(out, "w") as archive:
        for name, content in pairs:
            archive.writestr(name, content)
    return out.getvalue()


def sevens(correct: int, labeled_one: int = 0, labeled_two: int = 0, broken: int = 0) -> bytes:
    """Return a zip of sevens in the folders 7, 1 and 2, and of damaged files in 7."""
    counts = {"7": correct, "1": labeled_one, "2": labeled_two}
    files = [
        (f"{label}/{number:05d}.png", SEVEN)
        for label, count in counts.items()
        for number in range(count)
    ]
    return zipped(files + [(f"7/broken{number}.png", BROKEN) for number in range(broken)])
