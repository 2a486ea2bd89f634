"""Folders of timm and transformers, as far as they are read without these packages."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from backend.inference.preprocessing.photos import PhotoPreprocess, prepare_photo
from tests.training.package.kinds.options import options
from training.package.imported import ASSUMED
from training.package.kinds import detection, huggingface_folder, timm_model
from training.package.kinds.files import read_json
from training.package.model_spec import PackageError

TIMM_CONFIG = {"architecture": "resnet18", "num_classes": 3, "pretrained_cfg": {"mean": [0.5] * 3}}
HF_CONFIG = {"model_type": "vit", "architectures": ["ViTForImageClassification"]}
DATA_CONFIG: dict[str, Any] = {
    "input_size": (3, 288, 288), "crop_pct": 0.95, "crop_mode": "center",
    "interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3,
}  # fmt: skip


def make_folder(folder: Path, config: dict[str, Any], *, weights: bool = True) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    if weights:
        save_file({"fc.bias": torch.zeros(3)}, folder / "model.safetensors")
    return folder


def refuse(path: Path, **changes: Any) -> str:
    with pytest.raises(PackageError) as error:
        detection.read_source(options(checkpoint=path, **changes))
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "resize"),
    [
        ({}, 303),
        ({"crop_mode": "squash"}, (303, 303)),
        ({"crop_pct": 1.0}, 288),
    ],
)
def test_timm_configuration_becomes_a_spec(changes: dict[str, Any], resize: object) -> None:
    spec = timm_model.to_spec(DATA_CONFIG | changes)
    assert spec is not None
    assert (spec.resize, spec.crop, spec.interpolation) == (resize, (288, 288), "bicubic")


def test_timm_configuration_with_borders_has_no_spec() -> None:
    assert timm_model.to_spec(DATA_CONFIG | {"crop_mode": "border"}) is None
    assert timm_model.to_spec(DATA_CONFIG | {"input_size": (3, 224, 288)}) is None


@pytest.mark.parametrize(
    ("config", "package"), [(TIMM_CONFIG, "timm"), (HF_CONFIG, "transformers")]
)
def test_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, config: dict[str, Any], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert f"pip install {package}" in refuse(make_folder(tmp_path, config))


@pytest.mark.parametrize("config", [TIMM_CONFIG, HF_CONFIG])
def test_folder_without_weights_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    message = refuse(make_folder(tmp_path, config, weights=False))
    assert "contains no model.safetensors" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["ViTModel"]}, "ViTModel is not an image classifier"),
        ({"problem_type": "regression"}, "regression is not a classification"),
    ],
)
def test_folder_that_holds_no_classifier_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    assert message in refuse(make_folder(tmp_path, HF_CONFIG | changes))


def test_folder_of_another_kind_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    assert "known are a checkpoint of PyTorch" in refuse(make_folder(tmp_path, {"a": 1}))


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_damaged_configuration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(PackageError, match=r"config\.json"):
        read_json(tmp_path / "config.json")
    assert "known are" in refuse(tmp_path)


class Processor(SimpleNamespace):
    """Resizes the shorter side to 36 and crops 32, as a ConvNextImageProcessor with 32 does."""

    spec = PhotoPreprocess(
        resize=36,
        crop=(32, 32),
        crop_rounding="down",
        interpolation="bicubic",
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )

    def __call__(self, images: Image.Image, **_: object) -> dict[str, Any]:
        return {"pixel_values": prepare_photo(images, self.spec)[np.newaxis]}


@pytest.mark.parametrize(("change", "is_known"), [({}, True), ({"mean": (0.1,) * 3}, False)])
def test_spec_is_the_one_that_gives_the_inputs_of_the_image_processor(
    change: dict[str, Any], is_known: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    processor = Processor(
        size={"shortest_edge": 32}, resample=3, image_mean=[0.5] * 3, image_std=[0.5] * 3,
        crop_pct=0.875,
    )  # fmt: skip
    processor.spec = Processor.spec.model_copy(update=change)
    factory = SimpleNamespace(from_pretrained=lambda *_, **__: processor)
    fake = SimpleNamespace(AutoImageProcessor=factory, __version__="5.0")
    monkeypatch.setattr(huggingface_folder, "import_transformers", lambda: fake)
    if is_known:
        assert huggingface_folder._read_spec(tmp_path) == Processor.spec
    else:
        with pytest.raises(PackageError, match="cannot express"):
            huggingface_folder._read_spec(tmp_path)


@pytest.mark.parametrize("change", [{"architecture": "torchvision/resnet18"}, {"head": "linear"}])
def test_option_that_the_kind_does_not_use_is_refused(
    tmp_path: Path, change: dict[str, str]
) -> None:
    message = refuse(make_folder(tmp_path, HF_CONFIG), **change)
    assert f"--{next(iter(change))} is for checkpoints" in message


@pytest.mark.parametrize("config", [TIMM_CONFIG, HF_CONFIG])
def test_output_name_is_refused_for_networks_of_torch(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    message = refuse(make_folder(tmp_path, config), output_name="scores")
    assert "--output-name is for ONNX graphs" in message


WORDNET = ["n02084071", "n02121620", "n02121808"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"label_names": ["cat", "dog"]}, (("cat", "dog"), "label_names")),
        (
            {"label_names": WORDNET, "label_descriptions": ["dog", "cat", "cat"]},
            (("dog", "cat (n02121620)", "cat (n02121808)"), "label_descriptions"),
        ),
        (
            {
                "label_names": dict(enumerate(WORDNET[:2])),
                "label_descriptions": dict(zip(WORDNET, ("dog", "cat"), strict=False)),
            },
            (("dog", "cat"), "label_descriptions"),
        ),
        (
            {"label_names": WORDNET[:2], "label_descriptions": ["dog"]},
            (tuple(WORDNET[:2]), "label_names"),
        ),
        ({"label_names": ["cat"], "label_descriptions": ["an animal"]}, (("cat",), "label_names")),
        ({"num_classes": 3}, None),
    ],
)
def test_labels_of_timm_are_names_that_people_read(
    config: dict[str, Any], expected: tuple[tuple[str, ...], str] | None
) -> None:
    assert timm_model.read_labels(config) == expected


class Timm(SimpleNamespace):
    """As much of timm as a checkpoint needs: a network of one layer, and ImageNet of 4 classes."""

    def __init__(self) -> None:
        info = SimpleNamespace(
            label_names=lambda: ["n1", "n2", "n3", "n4"],
            label_descriptions=lambda: ["cat", "dog", "crane", "crane"],
        )
        data = SimpleNamespace(
            infer_imagenet_subset=lambda config: "four" if config["num_classes"] == 4 else None,
            ImageNetInfo=lambda _: info,
            resolve_model_data_config=lambda *_, **__: DATA_CONFIG,
        )
        super().__init__(__version__="1.0", data=data, built=[])

    def is_model(self, name: str) -> bool:
        return name == "net"

    def get_pretrained_cfg(self, _: str) -> object:
        return SimpleNamespace(classifier="head.fc")

    def create_model(self, _: str, *, pretrained: bool, num_classes: int) -> nn.Module:
        assert not pretrained
        self.built.append(num_classes)
        network = nn.Module()
        network.block = nn.Module()
        network.block.head = nn.ModuleDict({"fc": nn.Linear(2, 7)})
        network.head = nn.ModuleDict({"fc": nn.Linear(7, num_classes)})
        return network


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize(
    ("classes", "labels"), [(4, ("cat", "dog", "crane (n3)", "crane (n4)")), (5, None)]
)
def test_checkpoint_of_timm_is_built_once_and_named_after_imagenet(
    prefix: str,
    classes: int,
    labels: tuple[str, ...] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timm = Timm()
    monkeypatch.setattr(timm_model, "_import_timm", lambda: timm)
    network = timm.create_model("net", pretrained=False, num_classes=classes)
    timm.built.clear()
    tensors = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    imported = timm_model.from_tensors("timm/net", tensors)
    assert timm.built == [classes]
    assert imported.labels == labels
    assert imported.provenance.get("labels", ASSUMED).startswith(ASSUMED)
