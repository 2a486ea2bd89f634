"""Fixtures and helpers that several folders of tests use."""

import gc
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parent.parent
# A forked process that collected garbage of its parent could wait forever for threads that only
# its parent has, such as those of an onnxruntime session.
os.register_at_fork(before=gc.freeze, after_in_parent=gc.unfreeze)

FUZZ_FACTOR = int(os.environ.get("PRISM_FUZZ_FACTOR", "1"))  # multiplies the random examples


@pytest.fixture(scope="session", autouse=True)
def _isolated_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the service's data out of the user's home, and turn off measurements."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRISM_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        patch.setenv("PRISM_MEASURE", "false")
        yield


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Return the folder of real data; skip the test if it does not exist."""
    folder = Path(os.environ.get("PRISM_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist (PRISM_TEST_DATA sets another folder)")
    return folder


@pytest.fixture(scope="session")
def photo_models(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models that contains `photos`, a MobileNetV2 with real weights."""
    from training.package.__main__ import main as package  # imports torch and torchvision

    folder = tmp_path_factory.mktemp("models")
    weights = test_data / "weights" / "mobilenet_v2.pth"
    labels = test_data / "imagenet" / "imagenet-simple-labels.json"
    package(["photos", "--architecture", "torchvision/mobilenet_v2", "--checkpoint",
             str(weights), "--preprocess", "imagenet", "--labels", str(labels),
             "--out", str(folder)])  # fmt: skip
    return folder


def free_port() -> int:
    """Return a free port that the operating system chose."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def backend_url() -> Iterator[str]:
    """URL of a backend process that serves the shipped models and is ready.

    As with `make run`, its history is open.
    """
    with run_backend(PRISM_HISTORY_OPEN="true", PRISM_HISTORY_IMAGES="true") as url:
        yield url


@pytest.fixture(scope="session")
def calibrated_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a backend process that serves `calibrated`, the default model, and `plain`.

    Both are the shipped network. The calibration is invented: at 99% coverage a prediction set
    contains every label, at less the probable ones, and smooth noise is out of distribution.
    """
    models = tmp_path_factory.mktemp("calibrated")
    for name, fields in (("plain", {}), ("calibrated", _calibrated())):
        folder = models / name
        shutil.copytree(ROOT / "models" / "mnist-cnn", folder)
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text()) | {"name": name, "title": name, "metrics": {}}
        manifest.pop("calibration", None)
        path.write_text(json.dumps(manifest | fields))
    with run_backend(PRISM_MODELS_DIR=str(models), PRISM_DEFAULT_MODEL="calibrated") as url:
        yield url


def _calibrated() -> dict[str, Any]:
    min_probabilities = {0.9: 0.5, 0.95: 0.3, 0.99: 0}
    calibration = {
        "temperature": 1,
        "sets": [
            {"coverage": coverage, "min_confidence": 0, "min_probability": probability}
            for coverage, probability in min_probabilities.items()
        ],
        "max_ood_score": -3.5,
        "pictures": 100,
        "source": "invented",
        "mean_set_size": {"0.9": 1.0, "0.95": 1.1, "0.99": 10},
    }
    return {"calibration": calibration, "metrics": {"test_ece": 0.002}}


@contextmanager
def run_backend(**environ: str) -> Iterator[str]:
    """Run a backend process with these environment variables; yield its URL when it is ready."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "backend"],
        cwd=ROOT,
        env={**os.environ, "PORT": str(port), **environ},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Wait until the backend at `url` is ready; fail if its process has exited."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, f"the backend exited with {process.returncode}"
        try:
            if httpx.get(f"{url}/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"{url} was not ready within {seconds} s")
