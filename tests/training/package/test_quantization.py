"""--quantize writes an int8 graph that agrees with the original one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from backend.inference import probes, runtimes
from backend.inference.comparison import Agreement, compare_answers
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.inference.preprocessing.model_input import preprocess
from backend.inference.runtimes import MappingRuntime
from tests.conftest import ROOT
from tests.images import encoded
from tests.inference.cam_network import make_network
from tests.training.package.test_package import run, run_and_fail
from training.package import quantization

SPEC = '{"kind": "image", "resize": null, "crop": [12, 16]}'


@pytest.fixture(scope="module", autouse=True)
def few_generated_images() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "COUNT", 30)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A copy of a shipped digit model with a quantized graph."""
    out = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "models" / "mnist-mlp", out / "mnist-mlp")
    run("mnist-mlp", "--quantize", "--out", out)
    return artifact.read(out / "mnist-mlp")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "network.onnx"
    onnx.save(make_network(), path)
    (tmp_path / "spec.json").write_text(SPEC)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 200 images."""
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for index in range(200):
        color = tuple(rng.integers(0, 256, 3).tolist())
        (folder / f"{index}.png").write_bytes(encoded(Image.new("RGB", (16, 12), color)))
    return folder


def test_existing_folder_gets_a_quantized_graph_with_checksum_and_note(model: Artifact) -> None:
    assert model.int8 is not None
    assert model.int8.name in model.manifest.files
    assert "30 generated images" in (model.folder / artifact.CARD).read_text()
    assert model.manifest.calibration is not None


def test_quantizing_again_replaces_the_note_and_keeps_what_follows(model: Artifact) -> None:
    card = model.folder / artifact.CARD
    section = "\n## Limits\n\nOnly digits.\n"
    card.write_text(card.read_text() + section)
    artifact.write_manifest(model.folder, model.manifest)
    run("mnist-mlp", "--quantize", "--out", model.folder.parent)
    text = card.read_text()
    assert section in text
    assert text.count("## Quantized graph") == 1


def test_quantized_graph_computes_with_integers_and_agrees(model: Artifact) -> None:
    assert model.int8 is not None
    operators = {node.op_type for node in onnx.load(model.int8).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators
    reference, quantized = (
        runtimes.load(model, "onnx", precision=each) for each in ("fp32", "int8")
    )
    spec = model.manifest.preprocess
    inputs = [preprocess(image, spec) for image in probes.draw_probes(spec, seed=2)]
    agreement = compare_answers(model.manifest, reference, quantized, inputs)
    assert agreement.labels >= 0.9
    assert 0 < agreement.confidence_difference < 0.05


def test_new_model_is_quantized_with_images_and_keeps_its_other_outputs(
    network: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("colors", "--onnx", network, "--preprocess", tmp_path / "spec.json",
        "--quantize", photos, "--out", tmp_path)  # fmt: skip
    assert "int8 on calibration images: the same label for 100.0%" in capsys.readouterr().out
    model = artifact.read(tmp_path / "colors")
    assert "200 calibration images" in (model.folder / artifact.CARD).read_text()
    rows = np.random.default_rng(0).normal(0, 1, (2, 3, 12, 16)).astype(np.float32)
    features = []
    for precision in ("fp32", "int8"):
        runtime = runtimes.load(model, "onnx", precision=precision)
        assert isinstance(runtime, MappingRuntime)
        maps = runtime.activation_maps(rows)
        assert maps is not None
        assert maps[1].shape == (2, 3, 4)
        assert runtimes.has_features(runtime)
        features.append(runtime.features(rows)[1])
    np.testing.assert_allclose(features[0], features[1], atol=0.05)


@pytest.mark.parametrize(
    ("share", "advice"), [(0.5, "pass --quantize IMAGES: 200 images or more"), (1.0, None)]
)
def test_graph_that_the_service_will_not_use_is_reported_with_what_to_do(
    share: float,
    advice: str | None,
    model: Artifact,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    agreement = Agreement(labels=share, verdicts=None, confidence_difference=0.0)
    monkeypatch.setattr(quantization, "compare_answers", lambda *_: agreement)
    run("mnist-mlp", "--quantize", "--out", model.folder.parent)
    report = capsys.readouterr().out
    assert ("will not use model.int8.onnx" in report) == (advice is not None)
    assert advice is None or advice in report


def test_too_few_images_are_refused_and_the_folder_stays(
    model: Artifact, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "0.png").write_bytes(b"no image")
    before = (model.folder / artifact.MANIFEST).read_bytes()
    message = run_and_fail(
        "mnist-mlp", "--quantize", photos, "--out", model.folder.parent, capsys=capsys
    )
    assert "199 images that can be read; --quantize needs at least 200" in message
    assert (model.folder / artifact.MANIFEST).read_bytes() == before


def test_model_without_convolutions_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "models" / "mnist-tree", tmp_path / "mnist-tree")
    message = run_and_fail("mnist-tree", "--quantize", "--out", tmp_path, capsys=capsys)
    assert "no convolution and no matrix product" in message


def test_missing_folder_and_missing_option_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = run_and_fail("none", "--quantize", "--out", tmp_path, capsys=capsys)
    assert "not a model folder" in message
    message = run_and_fail("none", "--out", tmp_path, capsys=capsys)
    assert "--quantize is required" in message
