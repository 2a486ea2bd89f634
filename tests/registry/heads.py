"""Uploads of taught models on the tiny backbone of tests/inference/heads.py."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from backend.inference.models import artifact
from tests.conftest import ROOT
from tests.inference.heads import PHOTO

LABELS = ("red", "green")


def manifest(models_dir: Path, **fields: Any) -> dict[str, Any]:
    """Return the manifest of a model for red and green images, on `photos` in `models_dir`."""
    backbone = artifact.read(models_dir / "photos")
    return {
        "name": "colors",
        "version": "1",
        "architecture": "linear-head",
        "labels": list(LABELS),
        "preprocess": PHOTO.model_dump(mode="json"),
        "backbone": {"name": "photos", "sha256": backbone.network_sha256},
        "metrics": {"accuracy": 0.75},
        "files": {},
    } | fields


def head(**tensors: Any) -> bytes:
    """Return a head that tells red from green, or one with other `tensors`."""
    weight = np.array([[9, 0, 0], [0, 9, 0]], np.float32)
    defaults = {"weight": weight, "bias": np.zeros(2, np.float32)}
    return save(
        {name: values for name, values in (defaults | tensors).items() if values is not None}
    )


def form(document: object, weights: bytes | None = None, **parts: bytes) -> dict[str, Any]:
    """Return the argument `files` of a request that uploads a model."""
    contents = {"manifest": json.dumps(document).encode(), "head": weights or head()}
    return {name: (name, content) for name, content in (contents | parts).items()}


def photo_upload(seed: int = 0, **fields: Any) -> tuple[dict[str, Any], bytes]:
    """Return the manifest and the head of a model with random weights on the shipped `photos`.

    Its labels are `a SEED` and `b SEED`.
    """
    backbone = artifact.read_manifest(ROOT / "models" / "photos")
    document = {
        "name": "letters",
        "version": "1",
        "architecture": "linear-head",
        "labels": [f"a {seed}", f"b {seed}"],
        "preprocess": backbone.preprocess.model_dump(mode="json"),
        "backbone": {"name": "photos", "sha256": backbone.files[artifact.WEIGHTS]},
        "metrics": {"accuracy": 0.5},
        "files": {},
    } | fields
    weight = np.random.default_rng(seed).normal(size=(2, 1280)).astype(np.float32)
    return document, save({"weight": weight, "bias": np.zeros(2, np.float32)})
