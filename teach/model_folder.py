"""The files of a taught model."""

import hashlib
import io
import json
import re
import shutil
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray
from safetensors.numpy import save

from calibration.apply import Calibration
from teach.card import render as render_card
from teach.errors import TeachError
from teach.head import Head
from teach.limits import NAME_PATTERN
from teach.types import Backbone, Report, TaughtModel

MANIFEST: Final = "manifest.json"
HEAD: Final = "head.safetensors"
CARD: Final = "README.md"


def check_name(name: str) -> None:
    """Raise TeachError unless `name` can be the name of a model."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise TeachError(
            "The name of a model has 1 to 64 lower-case letters, digits, dots, hyphens and "
            "underscores, and starts and ends with a letter or a digit, such as ants-and-bees."
        )


def build(
    *,
    name: str,
    title: str,
    backbone: Backbone,
    head: Head,
    training: Mapping[str, NDArray[Any]],
    calibration: Calibration,
    report: Report,
    created: datetime,
) -> TaughtModel:
    """Return the content of the files of a model; `training` are further tensors of the head."""
    tensors = {"weight": head.weight, "bias": head.bias}
    if calibration.ood_method == "feature_distance":
        tensors |= {"centers": head.centers, "origin": head.origin}
    content = save({**tensors, **training})
    text = render_card(name, title, backbone, calibration, report, created)
    metrics = {
        "test_accuracy": report.accuracy,
        "test_accuracy_low": report.interval.low,
        "test_accuracy_high": report.interval.high,
        "test_images": sum(report.counts),
        "test_set_size_95": report.mean_set_size,
    }
    if report.ood_auroc is not None:
        metrics["ood_auroc"] = report.ood_auroc
    manifest = {
        "format": 1,
        "name": name,
        "version": "1",
        "title": title,
        "description": f"Taught with {sum(report.counts):,} images of {len(report.labels)} classes "
        f"on {backbone.name}.",
        "architecture": "linear-head",
        "backbone": {"name": backbone.name, "sha256": backbone.sha256},
        "output": "logits",
        "labels": list(report.labels),
        "preprocess": dict(backbone.preprocess),
        "metrics": {key: round(value, 5) for key, value in metrics.items()},
        # Older backends do not know the fields of other tasks.
        "calibration": calibration.model_dump(mode="json", exclude={"scaling", "thresholds"}),
        "files": {HEAD: _sha256(content), CARD: _sha256(text.encode())},
    }
    return TaughtModel(manifest, content, text, report)


def write(model: TaughtModel, folder: Path) -> None:
    """Write the model folder `folder`, which appears when it is complete.

    Raise FileExistsError if it exists.
    """
    draft = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        if folder.exists():
            raise FileExistsError(f"{folder} exists")
        for name, content in _files(model).items():
            (draft / name).write_bytes(content)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def pack(model: TaughtModel, name: str) -> bytes:
    """Return a zip of the model folder `name`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in _files(model).items():
            archive.writestr(f"{name}/{file}", content)
    return buffer.getvalue()


def _files(model: TaughtModel) -> dict[str, bytes]:
    manifest = json.dumps(model.manifest, indent=2, ensure_ascii=False) + "\n"
    return {HEAD: model.head, CARD: model.card.encode(), MANIFEST: manifest.encode()}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
