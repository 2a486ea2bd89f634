"""A checkpoint becomes a model folder that serves, or one line says why not."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.inference import artifact, networks, runtimes
from backend.inference.checkpoint import read_state_dict
from training.package import PackageError, main, package


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """`mnist_cnn.pt` as the PyTorch example saves it, with weights of chance."""
    torch.manual_seed(0)
    path = tmp_path / "mnist_cnn.pt"
    torch.save(networks.build("mnist-net").state_dict(), path)
    return path


def test_the_pytorch_examples_checkpoint_becomes_a_folder_that_serves(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["net", "--architecture", "mnist-net", "--checkpoint", str(checkpoint),
          "--out", str(tmp_path)])  # fmt: skip
    assert "wrote" in capsys.readouterr().out
    model = artifact.read(tmp_path / "net")
    assert model.manifest.labels == tuple("0123456789")
    assert model.manifest.metrics["onnx_parity"] <= 1e-4
    network = networks.build("mnist-net").eval()
    network.load_state_dict(torch.load(checkpoint, weights_only=True))
    batch = np.random.default_rng(0).normal(0, 1, (3, 1, 28, 28)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(batch)).numpy()
    for name in ("onnx", "torch"):
        np.testing.assert_allclose(runtimes.load(model, name)(batch), expected, atol=1e-4)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save(torch.nn.Linear(3, 3).state_dict(), path)
    with pytest.raises(PackageError, match="does not fit mnist-net"):
        package("net", "mnist-net", path, tmp_path)


def test_weights_that_are_not_finite_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    tensors = read_state_dict(checkpoint)
    tensors["fc2.bias"][0] = float("nan")
    torch.save(tensors, checkpoint)
    with pytest.raises(PackageError, match="not finite"):
        package("net", "mnist-net", checkpoint, tmp_path)


def test_the_checksum_is_verified(checkpoint: Path, tmp_path: Path) -> None:
    right = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    with pytest.raises(PackageError, match="SHA-256"):
        package("net", "mnist-net", checkpoint, tmp_path, sha256="0" * 64)
    package("net", "mnist-net", checkpoint, tmp_path, sha256=right.upper())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["net", "--checkpoint", "absent.pt"], "no checkpoint absent.pt"),
        (["Bad Name", "--checkpoint", "absent.pt"], "NAME is made of"),
    ],
)
def test_what_was_typed_wrong_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--architecture", "mnist-net"])
    assert said in f"{caught.value.code}{capsys.readouterr().err}"
