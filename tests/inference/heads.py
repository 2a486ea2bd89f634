"""A tiny backbone whose features are the mean color of an image."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from safetensors.numpy import save_file

from backend.inference.models import artifact
from backend.inference.models.artifact import Manifest
from backend.inference.preprocessing.photos import PhotoPreprocess
from tests.fake_models import write_model
from tests.inference.cam_network import LABELS, make_network
from training.package.activation_map import add_activation_map
from training.package.features import add_features

# Tells red and green apart, and has no opinion about blue.
WEIGHT = np.array([[9, 0, 0], [0, 9, 0]], dtype=np.float32)
TENSORS = {"weight": WEIGHT, "bias": np.zeros(2, dtype=np.float32)}
CENTERS = {"centers": np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32)}
PHOTO = PhotoPreprocess(resize=64, crop=(64, 64), mean=(0, 0, 0), std=(1, 1, 1))


def write_backbone(models_dir: Path, name: str = "photos") -> Path:
    """Write the model folder of a network whose features (N, 3) are the mean of R, G and B."""
    network = make_network()
    add_activation_map(network)
    add_features(network)
    folder = write_model(models_dir, name, labels=LABELS, preprocess=PHOTO)
    onnx.save(network, folder / artifact.ONNX)
    artifact.write_manifest(folder, artifact.read_manifest(folder))
    return folder


def write_head(
    models_dir: Path,
    name: str = "colors",
    *,
    backbone: Path,
    tensors: dict[str, Any] | None = None,
    backbone_of: dict[str, str] | None = None,
    **fields: Any,
) -> Path:
    """Write the folder of a model that was taught on `backbone` to tell red and green apart.

    `backbone_of` replaces the backbone in the manifest.
    """
    network = artifact.read(backbone)
    folder = models_dir / name
    folder.mkdir(parents=True)
    save_file(TENSORS if tensors is None else tensors, folder / artifact.HEAD)
    (folder / artifact.CARD).write_text("# Colors", encoding="utf-8")
    defaults: dict[str, Any] = {
        "name": name,
        "version": "3",
        "architecture": artifact.LINEAR_HEAD,
        "backbone": backbone_of
        or {"name": network.manifest.name, "sha256": network.network_sha256},
        "labels": ("red", "green"),
        "preprocess": network.manifest.preprocess,
        "files": {},
    }
    artifact.write_manifest(folder, Manifest.model_validate(defaults | fields))
    return folder
