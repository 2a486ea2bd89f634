"""Paths, request images and models of the benchmark.

Images and models are created on first use and cached in `.bench`, so they are the same on every
machine. Photographs are the bundled examples, enlarged, shifted and with noise added, so that the
files have realistic sizes: about 87 kB at 500x375, and about 4 MB at 12 megapixels. The decoding
time depends on the size. Several images of each kind prevent responses from a cache.
"""

import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

import numpy as np
from PIL import Image

ImageKind = Literal["photo", "large", "digit", "tiny"]
ModelName = Literal["resnet50", "mobilenet_v3_large", "mnist-cnn", "photos"]

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".bench"
LOGS = CACHE / "logs"
RESULTS = CACHE / "results"
_EXAMPLES = ROOT / "frontend" / "examples"
_BUNDLED_MODELS = ROOT / "models"
_CACHED_MODELS = CACHE / "models"
# Packaging requires onnx and its exporter, which only the development environment contains.
_DEVELOPMENT_PYTHON = ROOT / ".venv" / "bin" / "python"

_PHOTO_SIZE: Final = (500, 375)
_LARGE_SIZE: Final = (4000, 3000)
_PHOTO_BYTES: Final = 87_000
_LARGE_BYTES: Final = 4_000_000
_NOISE: Final = 6.0  # standard deviation, of 255 levels
_PHOTOS: Final = ("cat.jpg", "coffee.jpg", "rocket.jpg")
_WEIGHTS_SEED = 20240229


def image_files(kind: ImageKind) -> tuple[Path, ...]:
    """Return the image files of one kind, sorted by name."""
    folder = CACHE / "images" / kind
    done = folder / ".done"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in _GENERATORS[kind]():
            (folder / name).write_bytes(content)
        done.touch()
    return tuple(sorted(path for path in folder.iterdir() if path != done))


def create_photo(source: Path, size: tuple[int, int], target: int, *, seed: int) -> bytes:
    """Return a JPEG of `size` (width, height) with about `target` bytes.

    `seed` determines the crop of `source` and the noise.
    """
    rng = np.random.default_rng(seed)
    with Image.open(source) as image:
        width, height = image.size
        x, y = rng.uniform(0, 0.1, 2)
        box = (x * width, y * height, (x + 0.9) * width, (y + 0.9) * height)
        enlarged = image.convert("RGB").resize(size, Image.Resampling.BICUBIC, box=box)
    noise = rng.normal(0, _NOISE, (size[1], size[0], 3))
    noisy = Image.fromarray((np.asarray(enlarged) + noise).clip(0, 255).astype(np.uint8))
    return min(
        (_encode_jpeg(noisy, quality) for quality in _bracket_quality(noisy, target)),
        key=lambda content: abs(len(content) - target),
    )


def _photos() -> Iterator[tuple[str, bytes]]:
    for number in range(9):
        source = _EXAMPLES / _PHOTOS[number % 3]
        yield f"photo-{number}.jpg", create_photo(source, _PHOTO_SIZE, _PHOTO_BYTES, seed=number)


def _large_photos() -> Iterator[tuple[str, bytes]]:
    for number, name in enumerate(_PHOTOS):
        content = create_photo(_EXAMPLES / name, _LARGE_SIZE, _LARGE_BYTES, seed=number)
        yield f"large-{number}.jpg", content


def _digits() -> Iterator[tuple[str, bytes]]:
    for path in sorted(_EXAMPLES.glob("*.png")):
        yield path.name, path.read_bytes()


def _tiny_digits() -> Iterator[tuple[str, bytes]]:
    for path in sorted(_EXAMPLES.glob("*.png")):
        with Image.open(path) as image:
            small = image.convert("L").resize((28, 28), Image.Resampling.BOX)
        buffer = io.BytesIO()
        small.quantize(8).save(buffer, "PNG", optimize=True)
        yield path.name, buffer.getvalue()


def _bracket_quality(image: Image.Image, target: int) -> tuple[int, int]:
    """Return the two adjacent JPEG qualities whose file sizes enclose `target` bytes."""
    low, high = 20, 97
    while high - low > 1:
        middle = (low + high) // 2
        if len(_encode_jpeg(image, middle)) < target:
            low = middle
        else:
            high = middle
    return low, high


def _encode_jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


_GENERATORS: Final[dict[ImageKind, Callable[[], Iterator[tuple[str, bytes]]]]] = {
    "photo": _photos,
    "large": _large_photos,
    "digit": _digits,
    "tiny": _tiny_digits,
}


def model_folder(name: ModelName) -> Path:
    """Return the folder of a packaged model.

    `mnist-cnn` and `photos` are bundled models. The others are torchvision architectures with
    random weights: the duration of a forward pass does not depend on the weights.

    Raise CalledProcessError if packaging fails; the subprocess prints the reason.
    """
    if name in ("mnist-cnn", "photos"):
        return _BUNDLED_MODELS / name
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
