"""Packages a model of a framework with random weights, and compares both on nine images.

    python -m tests.extended.torch_kinds FOLDER FAMILY NAME

Prints JSON: the largest difference of a probability and of a logit, in units of the standard
deviation over the images, and the mean difference of an input.
"""

import json
import sys
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from backend.inference import runtimes
from backend.inference.decoder import Decoder
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact, torchvision_compat
from training.package.__main__ import main

CLASSES = 5
SIZES = (
    (500, 375), (375, 500), (640, 480), (224, 224), (256, 256), (300, 900), (64, 48), (1024, 300),
    (411, 333),
)  # fmt: skip

Prepare = Callable[[Image.Image], Tensor]
Made = tuple[nn.Module, Prepare, list[str]]


def fill_zeros(network: Any) -> Any:
    """Give random values to weights that start as zero, such as those of a head: it hides all."""
    for weights in network.parameters():
        if weights.ndim > 1 and not weights.any():
            nn.init.normal_(weights, std=0.02)
    return network


def enlarge(network: Any) -> Any:
    """Give convolutions larger weights: those of transformers make deep networks constant.

    Depthwise ones become means, because random ones amplify the rounding of single pixels.
    """
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
        elif isinstance(layer, nn.Conv2d) and layer.groups > 1:
            nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return network


def make_torchvision(folder: Path, name: str) -> Made:
    models = torchvision_compat.load("models")
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    network = fill_zeros(models.get_model(name, weights=None, num_classes=CLASSES, **options))
    if options:  # published weights are used with `transform_input`
        network.transform_input = True
    torch.save({"model": network.state_dict()}, folder / "net.pth")
    prepare = models.get_model_weights(name).DEFAULT.transforms()
    return network, prepare, [str(folder / "net.pth"), "--architecture", f"torchvision/{name}"]


def make_timm(folder: Path, name: str) -> Made:
    """Write a checkpoint, or with the prefix `hub:` the folder that timm's hub would hold."""
    torchvision_compat.load("models")
    timm = import_module("timm")

    is_folder = name.startswith("hub:")
    name = name.removeprefix("hub:")
    network = fill_zeros(timm.create_model(name, num_classes=CLASSES))
    prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    if not is_folder:
        torch.save({"state_dict": network.state_dict()}, folder / "net.pth.tar")
        return network, prepare, [str(folder / "net.pth.tar"), "--architecture", f"timm/{name}"]
    config = {
        "architecture": name,
        "num_classes": CLASSES,
        "pretrained_cfg": network.pretrained_cfg | {"mean": [0.5, 0.4, 0.3], "crop_pct": 0.9},
        "label_names": [f"label {index}" for index in range(CLASSES)],
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), folder / "model.safetensors")
    data = timm.data.resolve_data_config(pretrained_cfg=config["pretrained_cfg"])
    return network, timm.data.create_transform(**data), [str(folder)]


HUGGINGFACE: dict[str, dict[str, Any]] = {
    "vit": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64,
            "intermediate_size": 64, "patch_size": 16},
    "deit": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 64},
    "beit": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 64},
    "dinov2": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
               "image_size": 224, "patch_size": 16},
    "resnet": {"embedding_size": 8, "hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1]},
    "convnext": {"hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 2, 1]},
    "convnextv2": {"hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 2, 1], "image_size": 384},
    "swin": {"embed_dim": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 3, 6]},
    "swinv2": {"embed_dim": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 3, 6],
               "image_size": 256, "window_size": 8},
    "mobilenet_v2": {"depth_multiplier": 0.35},
    "efficientnet": {"width_coefficient": 0.25, "depth_coefficient": 0.3, "hidden_dim": 320},
    "mobilevit": {},
    "regnet": {"embedding_size": 8, "hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1],
               "groups_width": 8},
}  # fmt: skip
PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViTImageProcessor", {"size": {"height": 64, "width": 64}}),
    "deit": ("DeiTImageProcessor", {}),
    "beit": ("BeitImageProcessor", {}),
    "dinov2": ("BitImageProcessor", {"size": {"shortest_edge": 256}}),
    "resnet": ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}, "crop_pct": 0.875}),
    "convnext": ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}, "crop_pct": 0.95}),
    "convnextv2": ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
    "swin": ("ViTImageProcessor", {"resample": 3}),
    "swinv2": ("ViTImageProcessor", {"size": {"height": 256, "width": 256}}),
    "mobilenet_v2": ("MobileNetV2ImageProcessor", {}),
    "efficientnet": ("EfficientNetImageProcessor", {"size": {"height": 224, "width": 224}}),
    "mobilevit": ("MobileViTImageProcessor", {"size": {"shortest_edge": 288}}),
    "regnet": ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}}),
}


def make_huggingface(folder: Path, name: str) -> Made:
    torchvision_compat.load("models")
    transformers = import_module("transformers")

    labels = {index: f"label {index}" for index in range(CLASSES)}
    config = transformers.AutoConfig.for_model(name, **HUGGINGFACE[name], id2label=labels)
    classes = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)]
    found = classes[0] if isinstance(classes, tuple) else classes
    network = fill_zeros(found(config))
    if name in ("efficientnet", "mobilenet_v2", "mobilevit"):
        enlarge(network)
    network.eval().save_pretrained(folder)
    processor_name, options = PROCESSORS[name]
    getattr(transformers, processor_name)(**options).save_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)

    class Logits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return network(x).logits  # type: ignore[no-any-return]

    return (
        Logits(),
        lambda image: processor(image, return_tensors="pt")["pixel_values"][0],
        [str(folder)],
    )


FAMILIES = {"torchvision": make_torchvision, "timm": make_timm, "huggingface": make_huggingface}


def draw_images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    coarse = [Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)) for _ in SIZES]
    return [
        image.resize(size, Image.Resampling.BICUBIC)
        for image, size in zip(coarse, SIZES, strict=True)
    ]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def compare(folder: Path, family: str, name: str) -> dict[str, Any]:
    torch.manual_seed(0)
    source = folder / "source"
    source.mkdir()
    network, prepare, arguments = FAMILIES[family](source, name)
    main(["model", *arguments, "--out", str(folder / "models")])
    model = artifact.read(folder / "models" / "model")
    decoder = Decoder(model.manifest.preprocess, ImageReader(), scaled=False)
    ours, theirs = [], []
    for image in draw_images():
        file = BytesIO()
        image.save(file, "PNG")
        ours.append(decoder.decode(file.getvalue()).rows[0])
        theirs.append(np.asarray(prepare(image)))
    inputs, expected_inputs = np.stack(ours), np.stack(theirs)
    # Networks with `transform_input` normalize again, which our inputs contain.
    is_comparable = not getattr(network, "transform_input", False)
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(expected_inputs)).numpy()
    found = runtimes.load(model, "onnx")(inputs)
    # Random weights give all images nearly the same logits, so the spread is the unit.
    spread = float(expected.std(axis=0).max())
    return {
        "probability": float(np.abs(softmax(found) - softmax(expected)).max()),
        "logit": float(np.abs(found - expected).max()) / spread,
        "input": float(np.abs(inputs - expected_inputs).mean()) if is_comparable else 0.0,
        "provenance": model.manifest.provenance,
        "labels": model.manifest.labels,
    }


if __name__ == "__main__":
    outcome = compare(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    print(json.dumps(outcome))
