"""The models that are served, as model folders.

The photograph classifiers are torchvision's architectures with random weights of a fixed seed:
how long a forward pass takes does not depend on the weights. The digits are the shipped model.
"""

import subprocess
from pathlib import Path
from typing import Literal, get_args

from benchmarks.serving.paths import CACHE, PACKAGED, ROOT, SHIPPED

Model = Literal["resnet50", "mobilenet_v3_large", "mnist-cnn"]

_SEED = 20240229
# Packaging needs onnx and its exporter, which the environment for development has.
_DEVELOPMENT = ROOT / ".venv" / "bin" / "python"


def folder(model: Model) -> Path:
    """The model folder of `model`, made at the first call and kept.

    Raises CalledProcessError where packaging fails; it says why itself.
    """
    if model == "mnist-cnn":
        return SHIPPED / model
    made = PACKAGED / model
    if not (made / "manifest.json").exists():
        _package(model, _checkpoint(model))
    return made


def _checkpoint(model: Model) -> Path:
    import torch

    from backend.inference.models import torchvision_compat

    torch.manual_seed(_SEED)
    network = torchvision_compat.load("models").get_model(model, weights=None)
    path = CACHE / "checkpoints" / f"{model}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), path)
    return path


def _package(model: Model, checkpoint: Path) -> None:
    architecture = f"torchvision/{model}"
    subprocess.run(
        [
            *(_DEVELOPMENT, "-m", "training.package", model, "--architecture", architecture),
            *("--checkpoint", checkpoint, "--preprocess", "imagenet", "--out", PACKAGED),
        ],
        cwd=ROOT,
        check=True,
    )


if __name__ == "__main__":
    for name in get_args(Model):
        print(folder(name))
