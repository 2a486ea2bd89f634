"""Taught models with random weights: their cost does not depend on the weights."""

from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import save_file

from backend.inference.models import artifact
from backend.inference.models.artifact import Backbone, Manifest
from benchmarks.serving.assets import CACHE

_LABELS: Final = 10
_FEATURES: Final = 1280  # of the bundled photo model
_SEED: Final = 20240229


def create_heads(backbone: Path, count: int) -> list[Path]:
    """Return the folders `head-0`, `head-1` ... of models that were taught on `backbone`.

    Each has 10 labels and, as those of `teach` may have, centers for the feature distance.
    """
    model = artifact.read(backbone)
    name = model.manifest.name
    folder = CACHE / "heads" / model.network_sha256[:16]
    rng = np.random.default_rng(_SEED)
    heads = [folder / f"head-{number}" for number in range(count)]
    for head in heads:
        if (head / artifact.MANIFEST).exists():
            continue
        head.mkdir(parents=True, exist_ok=True)
        weight = rng.normal(size=(_LABELS, _FEATURES)).astype(np.float32)
        centers = weight / np.linalg.norm(weight, axis=1, keepdims=True)
        tensors = {"weight": weight, "bias": np.zeros(_LABELS, np.float32), "centers": centers}
        save_file(tensors, head / artifact.HEAD)
        manifest = Manifest(
            name=head.name,
            version="1",
            architecture=artifact.LINEAR_HEAD,
            backbone=Backbone(name=name, sha256=model.network_sha256),
            labels=tuple(f"label {number}" for number in range(_LABELS)),
            preprocess=model.manifest.preprocess,
            files={},
        )
        artifact.write_manifest(head, manifest)
    return heads
