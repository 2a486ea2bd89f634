"""The packaging command writes model folders; failures end with a one-line error."""

import hashlib
import json
import re
import socket
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from backend.inference import runtimes
from backend.inference.models import artifact, networks, torchvision_compat
from backend.inference.models.artifact import Artifact
from backend.inference.preprocessing.model_input import preprocess
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.types import Floats
from tests.conftest import ROOT
from training.package import __main__ as command
from training.package.__main__ import main
from training.package.model_spec import architecture_spec


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint as PyTorch's MNIST example saves it, with random weights."""
    torch.manual_seed(0)
    path = tmp_path / "mnist_cnn.pt"
    torch.save(networks.build("mnist-net").state_dict(), path)
    return path


def run(*arguments: str | Path) -> None:
    main([str(argument) for argument in arguments])


def run_and_fail(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command and return the one-line error that it ends with."""
    with pytest.raises(SystemExit) as error:
        run(*arguments)
    code = error.value.code
    message = code if isinstance(code, str) else capsys.readouterr().err
    return message.strip().splitlines()[-1]


def check_parity(model: Artifact, batch: Floats) -> None:
    onnx, network = (runtimes.load(model, name)(batch) for name in ("onnx", "torch"))
    np.testing.assert_allclose(onnx, network, atol=1e-4 * max(1, float(np.abs(network).max())))


def test_checkpoint_of_pytorch_example_is_packaged(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = checkpoint.rename(tmp_path / "net {0}.pt")
    run("net", checkpoint, "--architecture", "mnist-net", "--out", tmp_path)
    report = capsys.readouterr().out
    assert "MB, 10 classes" in report
    assert "onnx: " in report
    assert "torch: " in report
    assert "differ by at most" in report
    model = artifact.read(tmp_path / "net")
    assert model.manifest.labels == tuple("0123456789")
    assert re.search(r"^preprocess +digit in 28x28.* architecture mnist-net$", report, re.M)
    assert re.search(r"^labels +10: 0, 1, 2, … +assumed: the numbers of the outputs$", report, re.M)
    assert "to change it, pass --labels FILE" in report
    assert re.search(r"^task +single-label +architecture mnist-net$", report, re.M)
    assert model.manifest.provenance["labels"] == "assumed: the numbers of the outputs"
    assert model.manifest.preprocess.kind == "digit"
    card = (model.folder / artifact.CARD).read_text()
    assert "the checkpoint `net {0}.pt`" in card
    assert '`{"kind":"digit"' in card
    assert model.manifest.metrics["onnx_parity"] <= 1e-4
    network = networks.build("mnist-net").eval()
    network.load_state_dict(torch.load(checkpoint, weights_only=True))
    batch = np.random.default_rng(0).normal(0, 1, (3, 1, 28, 28)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(runtimes.load(model, "onnx")(batch), expected, atol=1e-4)
    check_parity(model, batch)


def test_torchvision_checkpoint_with_custom_labels_is_packaged(tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(["cat", "dog", "crane", "owl"]))
    path = tmp_path / "own.pth"
    network = networks.build("torchvision/squeezenet1_0", 4)
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, path)
    run("own", "--architecture", "torchvision/squeezenet1_0", "--checkpoint", path,
        "--labels", labels, "--out", tmp_path)  # fmt: skip
    model = artifact.read(tmp_path / "own")
    assert model.manifest.labels == ("cat", "dog", "crane", "owl")
    assert model.manifest.preprocess.input_shape == (3, 224, 224)
    check_parity(model, np.random.default_rng(0).normal(0, 1, (2, 3, 224, 224)).astype(np.float32))


def test_checkpoint_with_1000_classes_gets_imagenet_labels(test_data: Path, tmp_path: Path) -> None:
    weights = test_data / "weights" / "squeezenet1_0.pth"
    run("squeeze", "--architecture", "torchvision/squeezenet1_0", "--checkpoint", weights,
        "--out", tmp_path)  # fmt: skip
    labels = artifact.read(tmp_path / "squeeze").manifest.labels
    assert (len(labels), labels[1]) == (1000, "goldfish")


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_transformed_input_is_part_of_the_preprocessing(name: str) -> None:
    """Published weights expect ImageNet's normalization, which `transform_input` undoes."""
    spec = architecture_spec(f"torchvision/{name}")
    assert isinstance(spec, PhotoPreprocess)
    assert (spec.mean, spec.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    published = torchvision_compat.load("models").get_model_weights(name).DEFAULT.transforms()
    assert (spec.resize, spec.crop[0]) == (published.resize_size[0], published.crop_size[0])
    models = torchvision_compat.load("models")
    network = models.get_model(name, init_weights=False, transform_input=True).eval()
    image = Image.effect_noise((400, 360), 90).convert("RGB")
    with torch.inference_mode():
        ours = networks.build(f"torchvision/{name}", 1000).eval()
        ours.load_state_dict(networks.rename_tensors(f"torchvision/{name}", network.state_dict()))
        expected = network(published(image)[None])
        outputs = ours(torch.from_numpy(preprocess(image, spec))[None])
    torch.testing.assert_close(outputs, expected, rtol=1e-3, atol=1e-3)


def test_checkpoint_gets_the_preprocessing_of_its_architecture() -> None:
    spec = architecture_spec("torchvision/efficientnet_b0")
    assert isinstance(spec, PhotoPreprocess)
    assert (spec.resize, spec.crop, spec.interpolation) == (256, (224, 224), "bicubic")


def test_checkpoint_with_one_output_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = networks.build("torchvision/squeezenet1_0", 1)
    torch.save(network.state_dict(), tmp_path / "one.pth")
    message = run_and_fail("one", "--architecture", "torchvision/squeezenet1_0", "--checkpoint",
        tmp_path / "one.pth", "--out", tmp_path, capsys=capsys)  # fmt: skip
    assert "--task binary" in message


def test_pretrained_without_network_suggests_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise socket.gaierror("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    message = run_and_fail("m", "--architecture", "torchvision/resnet18", "--pretrained",
                   "--out", tmp_path, capsys=capsys)  # fmt: skip
    assert "could not be downloaded from https://" in message
    assert "--checkpoint" in message


def test_pretrained_weights_include_labels_and_preprocessing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = networks.build("torchvision/squeezenet1_0", 1000)
    weights = torchvision_compat.load("models").SqueezeNet1_0_Weights
    monkeypatch.setattr(weights, "get_state_dict", lambda *_, **__: network.state_dict())
    run("s", "--architecture", "torchvision/squeezenet1_0", "--pretrained", "--out", tmp_path)
    manifest = artifact.read(tmp_path / "s").manifest
    assert manifest.labels[1] == "goldfish"
    assert manifest.preprocess.model_dump()["resize"] == 256


class ChannelsLast(nn.Module):
    """A classifier of 3 classes with channels-last input; returns probabilities or logits."""

    def __init__(self, softmax: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.softmax = softmax

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.linear(x.mean((1, 2)))
        return scores.softmax(1) if self.softmax else scores


def export_graph(path: Path, network: nn.Module, *shape: int, batch: int | None = None) -> Path:
    with warnings.catch_warnings(action="ignore"):  # the exporter's
        torch.onnx.export(
            network.eval(),
            (torch.zeros(batch or 2, *shape),),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            dynamic_shapes=None if batch else ({0: torch.export.Dim("n")},),
        )
    return path


@pytest.mark.parametrize("softmax", [True, False])
def test_layout_and_output_kind_of_onnx_graph_are_detected(
    tmp_path: Path, softmax: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export_graph(tmp_path / "g.onnx", ChannelsLast(softmax), 96, 96, 3)
    run("foreign", "--onnx", path, "--out", tmp_path)
    assert "3 classes" in capsys.readouterr().out
    model = artifact.read(tmp_path / "foreign")
    assert model.manifest.output == ("probabilities" if softmax else "logits")
    assert model.manifest.labels == ("0", "1", "2")
    assert model.manifest.preprocess.input_shape == (96, 96, 3)
    assert runtimes.load(model, "torch").name == "onnx"


def test_output_option_overrides_detected_kind(tmp_path: Path) -> None:
    path = export_graph(tmp_path / "g.onnx", ChannelsLast(True), 32, 32, 3)
    run("foreign", "--onnx", path, "--output", "logits", "--out", tmp_path)
    assert artifact.read(tmp_path / "foreign").manifest.output == "logits"


def test_graph_with_fixed_batch_accepts_any_batch(tmp_path: Path) -> None:
    path = export_graph(tmp_path / "g.onnx", ChannelsLast(False), 32, 32, 3, batch=1)
    run("foreign", "--onnx", path, "--out", tmp_path)
    runtime = runtimes.load(artifact.read(tmp_path / "foreign"))
    batch = np.random.default_rng(0).normal(0, 1, (5, 32, 32, 3)).astype(np.float32)
    together = runtime(batch)
    assert together.shape == (5, 3)
    np.testing.assert_array_equal(together[3], runtime(batch[3:4])[0])


def test_graph_with_digit_input_gets_digit_preprocessing(tmp_path: Path) -> None:
    path = export_graph(
        tmp_path / "g.onnx", nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 28, 28, 1
    )
    run("digits", "--onnx", path, "--out", tmp_path)
    preprocess = artifact.read(tmp_path / "digits").manifest.preprocess
    assert (preprocess.kind, preprocess.input_shape) == ("digit", (28, 28, 1))


def test_preprocessing_is_read_from_json_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export_graph(tmp_path / "g.onnx", ChannelsLast(True), 32, 32, 3)
    spec = tmp_path / "spec.json"
    fields = {"kind": "image", "resize": [32, 32], "crop": [32, 32], "layout": "NHWC",
              "mean": [0, 0, 0], "std": [1, 1, 1]}  # fmt: skip
    spec.write_text(json.dumps(fields))
    run("foreign", "--onnx", path, "--preprocess", spec, "--out", tmp_path)
    spec_read = artifact.read(tmp_path / "foreign").manifest.preprocess
    assert spec_read.model_dump()["mean"] == (0, 0, 0)
    spec.write_text(json.dumps(fields | {"crop": [64, 64]}))
    message = run_and_fail("foreign", "--onnx", path, "--preprocess", spec, "--out", tmp_path,
                   capsys=capsys)  # fmt: skip
    assert "(64, 64, 3)" in message
    spec.write_text(json.dumps(fields | {"std": [0, 1, 1]}))
    message = run_and_fail("foreign", "--onnx", path, "--preprocess", spec, "--out", tmp_path,
                   capsys=capsys)  # fmt: skip
    assert "spec.json" in message
    assert "std" in message


def test_checksum_is_verified(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("net", "--architecture", "mnist-net", "--checkpoint", checkpoint, "--out", tmp_path)
    assert "SHA-256" in run_and_fail(*command, "--sha256", "0" * 64, capsys=capsys)
    run(*command, "--sha256", hashlib.sha256(checkpoint.read_bytes()).hexdigest().upper())


def corrupt(checkpoint: Path, change: dict[str, Any]) -> None:
    torch.save(torch.load(checkpoint, weights_only=True) | change, checkpoint)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc2.bias": torch.full((10,), torch.nan)}, "not finite: fc2.bias"),
        ({"fc2.bias": torch.zeros(9)}, "of another shape: fc2.bias (9,) instead of (10,)"),
        ({"surprise": torch.zeros(10)}, "does not fit mnist-net: unexpected: surprise"),
        (
            {f"extra.{index}": torch.zeros(1) for index in range(7)},
            "extra.0, extra.1, extra.2, extra.3, extra.4 and 2 more",
        ),
    ],
)
def test_weights_that_do_not_match_are_rejected(
    checkpoint: Path,
    tmp_path: Path,
    change: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    corrupt(checkpoint, change)
    assert message in run_and_fail("net", "--architecture", "mnist-net", "--checkpoint", checkpoint,
                           "--out", tmp_path, capsys=capsys)  # fmt: skip
    assert not (tmp_path / "net").exists()


def test_unexpected_error_is_reported_in_one_line(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(command, "package", fail)
    arguments = ("net", checkpoint, "--architecture", "mnist-net", "--out", tmp_path)
    message = run_and_fail(*arguments, capsys=capsys)
    assert "KeyError while packaging" in message
    assert "secret" not in message
    with pytest.raises(KeyError):
        run(*arguments, "--traceback")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["net", "--architecture", "mnist-net", "--checkpoint", "absent.pt"],
            "file not found: absent.pt",
        ),
        (["Bad Name", "--onnx", "absent.onnx"], "NAME may contain"),
        (["net", "--onnx", "absent.onnx"], "file not found: absent.onnx"),
        (["net", "absent.pt"], "file not found: absent.pt"),
        (["net", "a.pt", "--onnx", "b.onnx"], "SOURCE excludes --checkpoint"),
        (["net", "--onnx", "b.onnx", "--architecture", "mnist-net"], "excludes --architecture"),
        (["net", "--quantize", "--expect", "a.png=cat"], "require SOURCE"),
        (["net", "--quantize", "--labels", "a.txt"], "require SOURCE"),
        (["net", "--onnx", "b.onnx", "--head", "linear"], "excludes --architecture and --head"),
        (
            ["net", "--pretrained", "--architecture", "torchvision/vgg11", "--head", "linear"],
            "--head is for checkpoints",
        ),
        (
            ["net", "--pretrained", "--architecture", "torchvision/vgg11", "--output-name", "a"],
            "--output-name is for ONNX graphs",
        ),
        (
            ["net", "--pretrained", "--architecture", "torchvision/vgg11", "--sha256", "0"],
            "--sha256 is for files",
        ),
        (["net", "--architecture", "mnist-net", "--pretrained"], "torchvision/"),
        (
            ["net", "--architecture", "torchvision/resnet51", "--pretrained"],
            "no classifier named 'resnet51'; similar names are resnet50",
        ),
        (["net", __file__, "--out", f"{__file__}/models"], "a folder that you may write to"),
        (["net"], "required"),
    ],
)
def test_invalid_arguments_end_with_one_line_error(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in run_and_fail(*arguments, capsys=capsys)


def test_wrong_number_of_labels_is_rejected(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    message = run_and_fail("net", "--architecture", "mnist-net", "--checkpoint", checkpoint,
                   "--labels", labels, "--out", tmp_path, capsys=capsys)  # fmt: skip
    assert "10 outputs" in message
    assert "2 labels" in message


def test_invalid_onnx_file_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "no.onnx"
    path.write_bytes(b"hello")
    assert "not a valid ONNX file" in run_and_fail("n", "--onnx", path, capsys=capsys)


def test_packaging_again_keeps_the_predecessor_and_counts_the_version_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("net", "--onnx", ROOT / "models" / "mnist-mlp" / "model.onnx")
    run(*arguments, "--out", tmp_path)
    before = artifact.read(tmp_path / "net")
    run(*arguments, "--out", tmp_path, "--version", "4")
    assert artifact.read(tmp_path / "net").manifest.version == "4"
    kept = artifact.read(tmp_path / ".previous" / "net@1")
    assert kept.manifest == before.manifest
    assert "version 4; earlier versions are in" in capsys.readouterr().out
    message = run_and_fail(*arguments, "--out", tmp_path, "--version", "1", capsys=capsys)
    assert "net has a version 1 already" in message
