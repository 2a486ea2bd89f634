"""Export of a taught model as a zip that needs no other file, and no Prism."""

import hashlib
from io import BytesIO
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from backend.inference.errors import NoFeaturesError
from backend.inference.head_export import fuse_head
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.models.head import read_head
from backend.inference.preprocessing.photos import PhotoPreprocess
from calibration.apply import Calibration

LABELS: Final = "labels.txt"

_CARD: Final = """\

## Use

`model.onnx` contains the backbone `{backbone}` and the head. Its input is a batch of images of type
float32 and shape (N, {shape}). Its output `{output}` has one {unit} for each line of `labels.txt`.
{example}
The folder is also a model of Prism: unpack it as `models/{name}`.
"""
_EXAMPLE: Final = """
```python
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image, ImageOps

labels = Path("{labels}").read_text(encoding="utf-8").splitlines()
session = ort.InferenceSession("model.onnx")

image = ImageOps.exif_transpose(Image.open("image.jpg")).convert("RGB")
{resize}image = image.resize((width, height), Image.Resampling.{interpolation})
left, top = round((width - {crop_width}) / 2), round((height - {crop_height}) / 2)
image = image.crop((left, top, left + {crop_width}, top + {crop_height}))
values = (np.asarray(image, np.float32) / 255 - {mean}) / {std}
batch = values{transpose}[np.newaxis].astype(np.float32)

({output},) = session.run(None, {{session.get_inputs()[0].name: batch}})
for label, value in zip(labels, {output}[0], strict=True):
    print(f"{{value:.4f}} {{label}}")
```
"""
_RESIZE_SHORTER: Final = """\
width, height = (int({side} * length / min(image.size)) for length in image.size)
"""


def export_model(
    taught: Artifact, backbone: Artifact, *, softmax: bool, temperature: bool
) -> bytes:
    """Return a zip of model.onnx, labels.txt, manifest.json and README.md.

    The graph returns logits; with `temperature` they are divided by the temperature of the
    calibration, and with `softmax` it returns probabilities. Unpacked, the zip is the folder of a
    model without a backbone.

    Raise ArtifactError if the head is invalid, and the errors of `fuse_head`.
    """
    if backbone.onnx is None:
        raise NoFeaturesError("The backbone of the model has no ONNX graph.")
    manifest, head = taught.manifest, read_head(taught)
    calibration = manifest.calibration
    divisor = calibration.temperature if calibration and temperature else 1.0
    graph = fuse_head(backbone.onnx, head.weight, head.bias, temperature=divisor, softmax=softmax)
    card = (artifact.read_card(taught.folder) or f"# {manifest.title or manifest.name}\n").rstrip()
    card += "\n" + describe_use(manifest, backbone.manifest.name, softmax=softmax)
    files = {artifact.ONNX: graph, artifact.CARD: card.encode()}
    exported = manifest.model_copy(
        update={
            "architecture": "onnx",
            "backbone": None,
            "license": manifest.license or backbone.manifest.license,
            "output": "probabilities" if softmax else "logits",
            "calibration": calibration and _adapt(calibration, divisor, softmax=softmax),
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        }
    )
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        archive.writestr(artifact.ONNX, graph, ZIP_STORED)  # weights cannot be compressed
        archive.writestr(artifact.CARD, card)
        archive.writestr(LABELS, "".join(f"{label}\n" for label in manifest.labels))
        archive.writestr(artifact.MANIFEST, artifact.to_json(exported) + "\n")
    return buffer.getvalue()


def zip_folder(taught: Artifact) -> bytes:
    """Return a zip of the model's own files: manifest.json, head.safetensors and README.md."""
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        for name in (artifact.MANIFEST, artifact.HEAD, artifact.CARD):
            if (file := taught.folder / name).exists():
                archive.write(file, name)
    return buffer.getvalue()


def _adapt(calibration: Calibration, divisor: float, *, softmax: bool) -> Calibration:
    """Return the calibration of a graph whose logits are divided by `divisor`.

    The out-of-distribution score requires the logits as they were, or the features.
    """
    update: dict[str, object] = {"temperature": calibration.temperature / divisor}
    if softmax or divisor != 1 or calibration.ood_method == "feature_distance":
        update |= {"ood_method": "energy", "max_ood_score": None}
    return calibration.model_copy(update=update)


def describe_use(manifest: Manifest, backbone: str, *, softmax: bool) -> str:
    """Return the part of the card about the exported graph, in Markdown."""
    spec = manifest.preprocess
    output = "probabilities" if softmax else "logits"
    return _CARD.format(
        name=manifest.name,
        backbone=backbone,
        shape=", ".join(map(str, spec.input_shape)),
        output=output,
        unit="probability" if softmax else "logit",
        example=_example(spec, output) if isinstance(spec, PhotoPreprocess) else "",
    )


def _example(spec: PhotoPreprocess, output: str) -> str:
    """Return code that prepares an image as `prepare_photo` does, for images in RGB."""
    is_simple = spec.channels == 3 and spec.color == "RGB" and spec.crop_rounding != "none"
    if not is_simple or spec.layout == "flat":
        return ""
    if isinstance(spec.resize, int):
        resize = _RESIZE_SHORTER.format(side=spec.resize)
    elif spec.resize is None:
        resize = "width, height = image.size\n"
    else:
        resize = f"height, width = {spec.resize}\n"
    height, width = spec.crop
    return _EXAMPLE.format(
        labels=LABELS,
        resize=resize,
        interpolation=spec.interpolation.upper(),
        crop_height=height,
        crop_width=width,
        mean=list(spec.mean),
        std=list(spec.std),
        transpose=".transpose(2, 0, 1)" if spec.layout == "NCHW" else "",
        output=output,
    )
