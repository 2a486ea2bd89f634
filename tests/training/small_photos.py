"""A tiny photo network, and photographs of two colors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from backend.inference.models import artifact, networks
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.models.efficientnet_lite import SCALES, Scale
from backend.inference.preprocessing.photos import PhotoPreprocess

ARCHITECTURE = "efficientnet-lite0"
SPEC = PhotoPreprocess(resize=40, crop=(32, 32))
COLORS = {"green": (60, 160, 60), "red": (160, 60, 60)}


def use_tiny_scale(patch: pytest.MonkeyPatch) -> None:
    """Make the architecture a network that trains in seconds."""
    patch.setitem(SCALES, ARCHITECTURE, Scale(width=0.1, depth=0.1, side=32))


def write_backbone(models: Path, architecture: str = ARCHITECTURE) -> Artifact:
    """Write the folder of a network with random weights for ten classes."""
    torch.manual_seed(0)
    network = networks.build(architecture, 10)
    for parameter in network.parameters():
        if parameter.ndim > 1:  # else there is no signal after some layers
            nn.init.kaiming_normal_(parameter)
    folder = models / "photos"
    folder.mkdir(parents=True)
    save_file(network.state_dict(), folder / artifact.WEIGHTS)
    manifest = Manifest(
        name="photos",
        version="1",
        license="Apache-2.0",
        architecture=architecture,
        labels=tuple("0123456789"),
        preprocess=SPEC,
        files={},
    )
    return artifact.write_manifest(folder, manifest)


def write_photographs(folder: Path, count: int = 10) -> Path:
    """Write `count` noisy images of each color into a folder of class folders."""
    rng = np.random.default_rng(0)
    for label, color in COLORS.items():
        (folder / label).mkdir(parents=True)
        for index in range(count):
            pixels = np.array(color) + rng.integers(-50, 50, (48, 64, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{index}.png")
    return folder
