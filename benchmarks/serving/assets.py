"""Paths and models of the benchmark; models are created on first use and cached in `.bench`."""

import subprocess
from pathlib import Path
from typing import Final, Literal

ModelName = Literal["resnet50", "mobilenet_v3_large", "mnist-cnn", "photos"]

ROOT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = ROOT / ".bench"
LOGS: Final = CACHE / "logs"
PROFILES: Final = CACHE / "profiles"
RESULTS: Final = ROOT / "benchmarks" / "results"  # in the repository: the figures of the document
BUNDLED_MODELS: Final = ROOT / "models"
_CACHED_MODELS: Final = CACHE / "models"
# Packaging requires onnx and its exporter, which only the development environment contains.
_DEVELOPMENT_PYTHON: Final = ROOT / ".venv" / "bin" / "python"
_WEIGHTS_SEED: Final = 20240229


def model_folder(name: ModelName) -> Path:
    """Return the folder of a packaged model.

    `mnist-cnn` and `photos` are bundled models. The others are torchvision architectures with
    random weights: the duration of a forward pass does not depend on the weights.

    Raise CalledProcessError if packaging fails; the subprocess prints the reason.
    """
    if name in ("mnist-cnn", "photos"):
        return BUNDLED_MODELS / name
    folder = _CACHED_MODELS / name
    if not (folder / "manifest.json").exists():
        _package_model(name, _create_checkpoint(name))
    return folder


def _create_checkpoint(name: ModelName) -> Path:
    import torch

    from backend.inference.models import torchvision_compat

    torch.manual_seed(_WEIGHTS_SEED)
    network = torchvision_compat.load("models").get_model(name, weights=None)
    path = CACHE / "checkpoints" / f"{name}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), path)
    return path


def _package_model(name: ModelName, checkpoint: Path) -> None:
    architecture = f"torchvision/{name}"
    subprocess.run(
        [
            *(_DEVELOPMENT_PYTHON, "-m", "training.package", name, "--architecture", architecture),
            *("--checkpoint", checkpoint, "--preprocess", "imagenet", "--out", _CACHED_MODELS),
        ],
        cwd=ROOT,
        check=True,
    )
