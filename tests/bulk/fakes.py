"""A model without a network and images for tests of bulk jobs."""

import io
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from backend.inference.classifier import Classifier
from backend.inference.head_classifier import AnyClassifier
from backend.inference.models import artifact
from backend.inference.types import Floats
from bulk import commands
from bulk.commands import Options
from tests.fake_models import CALIBRATION, GRAY, GrayRuntime, gray, write_model


class SlowGrayRuntime(GrayRuntime):
    """A GrayRuntime whose forward passes take `seconds` longer; it records no batches."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def __call__(self, batch: Floats) -> Floats:
        time.sleep(self._seconds)
        logits = super().__call__(batch)
        self.batches.clear()
        return logits


@dataclass(frozen=True)
class FakeLoader:
    """Loads a model for `gray` images, in any process; `seconds` is the time of a forward pass."""

    folder: Path
    seconds: float = 0

    def __call__(self, threads: int) -> tuple[Classifier, AnyClassifier]:
        model = artifact.read(self.folder)
        network = Classifier(model, lambda **_: SlowGrayRuntime(self.seconds), threads=threads)
        return network, network


def write_gray_model(models_dir: Path) -> FakeLoader:
    """Write a folder of a model for `gray` images and return its loader."""
    return FakeLoader(write_model(models_dir, preprocess=GRAY, calibration=CALIBRATION))


def options(source: Path | str, root: Path, **fields: Any) -> Options:
    """Return options of a job of the gray model in `root`, with results in `root`/out."""
    defaults: dict[str, Any] = {
        "source": str(source),
        "model": "fake",
        "out": str(root / "out"),
        "models_dir": root / "models",
        "coverage": 0.95,
        "top_k": 3,
        "labels": False,
        "part_images": None,
        "workers": 1,
        "ray": None,
        "ray_actors": None,
        "task": 0,
        "tasks": 1,
    }
    return Options(**defaults | fields)


def run(source: Path | str, root: Path, **fields: Any) -> int:
    """Run a job of the gray model and return its exit code."""
    models = root / "models"
    loader = FakeLoader(models / "fake") if models.exists() else write_gray_model(models)
    return commands.run(options(source, root, **fields), loader)


def read_rows(out: Path | str) -> list[dict[str, Any]]:
    """Return the rows of a job, sorted by container and path, as any reader sees them."""
    table = pq.read_table(out)
    return sorted(table.to_pylist(), key=lambda row: (row["container"] or "", row["path"]))


def gray_files(count: int, folder: str = "") -> dict[str, bytes]:
    """Return `count` images of the digits in turn, by path."""
    return {f"{folder}{index:06d}.png": gray(index % 10) for index in range(count)}


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a tar of files."""
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path
