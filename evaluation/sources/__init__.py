"""Where labelled pictures come from: class folders, a zip of them, a CSV, MNIST's idx files."""

from collections.abc import Sequence
from pathlib import Path

from evaluation.errors import SourceError
from evaluation.sources import archive, folder, mnist_idx, csv_file
from evaluation.sources.archive import Limits
from evaluation.sources.base import Source


def open_source(
    path: Path, *, split: str = "test", labelled: bool = True, limits: Limits | None = None
) -> Source:
    """Open what lies at `path`; close it, or use it in a `with`.

    `split`, `test` or `train`, matters for a folder of MNIST's files, `limits` for a zip. Without
    labels (`labelled=False`) every picture of a folder or a zip is taken. Raises SourceError where
    there is nothing, or nothing that is read.
    """
    try:
        return _open(path, split, labelled, limits or Limits())
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def spread(count: int, limit: int | None) -> Sequence[int]:
    """Indices of at most `limit` of `count` pictures, evenly spread, in order."""
    if limit is None or limit >= count:
        return range(count)
    return [index * count // limit for index in range(limit)]


def _open(path: Path, split: str, labelled: bool, limits: Limits) -> Source:
    if path.is_dir():
        if labelled and mnist_idx.is_mnist(path):
            return mnist_idx.open_mnist(path, split)
        return folder.open_folder(path, labelled=labelled)
    if not path.is_file():
        raise SourceError(f"{path}: there is nothing at this path")
    if path.suffix.lower() == ".zip":
        return archive.open_zip(path, labelled=labelled, limits=limits)
    if labelled and path.suffix.lower() in {".csv", ".tsv"}:
        return csv_file.open_table(path)
    if labelled and mnist_idx.is_images_file(path):
        return mnist_idx.open_images(path)
    kinds = (
        "a folder of class folders, a zip of such, a CSV of paths and labels, or MNIST's idx files"
        if labelled
        else "a folder of pictures or a zip of such"
    )
    raise SourceError(f"{path} is none of what is read: {kinds}")
