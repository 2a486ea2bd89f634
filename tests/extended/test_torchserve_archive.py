"""An archive of TorchServe becomes a model with the probabilities of TorchServe's handler."""

import asyncio
import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backend.inference import runtimes
from backend.inference.classifier import Classifier
from backend.inference.models import artifact, networks, torchvision_compat
from tests.conftest import ROOT
from tests.training.package.test_torchserve_archive import write_archive
from training.package.__main__ import main

IMAGE = ROOT / "frontend" / "examples" / "cat.jpg"
LABELS = {"0": ["n01", "crane"], "1": ["n02", "crane"], "2": "owl"}


def handle(network: torch.nn.Module, path: Path) -> list[float]:
    """Return what image_classifier of TorchServe computes for an image."""
    transforms = torchvision_compat.load("transforms")
    process = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    with torch.inference_mode():
        logits = network(process(Image.open(path).convert("RGB"))[None])
        found: list[float] = torch.softmax(logits, 1)[0].tolist()
    return found


def classify(folder: Path) -> np.ndarray:
    model = artifact.read(folder)
    classifier = Classifier(model, partial(runtimes.load, model), scaled_decoding=False)
    try:
        return asyncio.run(classifier.classify(IMAGE.read_bytes())).probabilities
    finally:
        classifier.close()


def test_model_equals_the_handler(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = networks.build("torchvision/squeezenet1_1", 3).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    path = write_archive(tmp_path, (tmp_path / "weights.pth").read_bytes(), labels=LABELS)
    options = ["--architecture", "torchvision/squeezenet1_1", "--out", str(tmp_path / "models")]
    main(["birds", "--checkpoint", str(path), *options])
    folder = tmp_path / "models" / "birds"
    manifest = artifact.read(folder).manifest
    assert manifest.labels == ("crane (n01)", "crane (n02)", "owl")
    assert manifest.version == "2.5"
    assert classify(folder) == pytest.approx(handle(network, IMAGE), abs=1e-3)


class Net(torch.nn.Module):
    """A small network that can be scripted."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the mean of each channel."""
        return image.mean((2, 3)) * 9


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_recipe_for_torchscript_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.jit.save(torch.jit.script(Net()), tmp_path / "net.pt")
    script = (tmp_path / "net.pt").read_bytes()
    path = write_archive(tmp_path, script, name="birds.pt", labels={"0": "a", "1": "b", "2": "c"})
    with pytest.raises(SystemExit) as refusal:
        main(["birds", "--checkpoint", str(path)])
    recipe = str(refusal.value).split("type:\n")[1]
    python = shlex.quote(sys.executable)
    recipe = re.sub(r"(\.venv/bin/)?python (?=-)", f"{python} ", recipe)
    environ = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        ["bash", "-ec", recipe], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "models" / "birds"
    assert artifact.read(folder).manifest.labels == ("a", "b", "c")
    assert classify(folder) == pytest.approx(handle(Net(), IMAGE), abs=1e-3)
