"""The files of a taught model."""

import hashlib
import json
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import Final

from safetensors.numpy import save

from calibration.apply import Calibration
from teach.card import render as render_card
from teach.errors import TeachError
from teach.head import Head
from teach.types import Backbone, Report, TaughtModel

MANIFEST: Final = "manifest.json"
HEAD: Final = "head.safetensors"
CARD: Final = "README.md"
NAME_PATTERN: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


def check_name(name: str) -> None:
    """Raise TeachError unless `name` can be the name of a model."""
    if not NAME_PATTERN.fullmatch(name):
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
    calibration: Calibration,
    report: Report,
    created: datetime,
) -> TaughtModel:
    """Return the content of the files of a model."""
    tensors = {"weight": head.weight, "bias": head.bias}
    if calibration.ood_method == "feature_distance":
        tensors["centers"] = head.centers
    content = save(tensors)
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
        (draft / HEAD).write_bytes(model.head)
        (draft / CARD).write_text(model.card, encoding="utf-8", newline="\n")
        text = json.dumps(model.manifest, indent=2, ensure_ascii=False)
        (draft / MANIFEST).write_text(text + "\n", encoding="utf-8", newline="\n")
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
