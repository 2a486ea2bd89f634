"""Sources of images: class folders, zips, CSV files and MNIST's idx files."""

from pathlib import Path

from evaluation.errors import SourceError
from evaluation.sources import archive, class_folders, csv_file, mnist_idx
from evaluation.sources.archive import Limits
from evaluation.sources.base import Source


def open_source(
    path: Path, *, split: str = "test", labeled: bool = True, limits: Limits | None = None
) -> Source:
    """Open the source at `path`; close it, or use it as a context manager.

    `split` is `test` or `train` and applies to a folder of MNIST's files, `limits` apply to a zip.
    With `labeled=False` all images of a folder or zip are used, without labels. Raise SourceError
    if the path does not exist or is not a supported source.
    """
    try:
        return _open(path, split, labeled, limits or Limits())
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def _open(path: Path, split: str, labeled: bool, limits: Limits) -> Source:
    if path.is_dir():
        if labeled and mnist_idx.is_mnist(path):
            return mnist_idx.open_mnist(path, split)
        return class_folders.open_folder(path, labeled=labeled)
    if not path.is_file():
        raise SourceError(f"{path} does not exist")
    if path.suffix.lower() == ".zip":
        return archive.open_zip(path, labeled=labeled, limits=limits)
    if labeled and path.suffix.lower() in {".csv", ".tsv"}:
        return csv_file.open_csv(path)
    if labeled and mnist_idx.is_images_file(path):
        return mnist_idx.open_images(path)
    kinds = (
        "a folder or zip of class folders, a CSV file of paths and labels, or MNIST's idx files"
        if labeled
        else "a folder or zip of images"
    )
    raise SourceError(f"{path} is not a supported source; expected {kinds}")
