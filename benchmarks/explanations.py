"""Measure explanations of a photo model: deletion and insertion scores (Petsiuk et al. 2018).

    .venv/bin/python -m benchmarks.explanations IMAGES [--model models/photos] [--count 200]

Deletion replaces the pixels of the model's input by its mean color, those with the most heat first;
insertion restores them in a blurred input. The score is the mean probability of the predicted label
on the way: a good heat map has a low deletion and a high insertion score. Source:
https://arxiv.org/abs/1806.07421. `--speed` measures instead what the activation map costs.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from backend.inference import occlusion, runtimes
from backend.inference.decoder import Decoder
from backend.inference.errors import PrismError
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.runtimes.onnx_runtime import OnnxRuntime
from backend.inference.types import Floats
from calibration import apply

_STEPS: Final = 16
_BATCH: Final = 16
_BLUR: Final = 16  # pixels of the input that one pixel of the blurred input shows
_RANDOM_CELLS: Final = 7  # a side: about the resolution of an activation map
_SPEED_RUNS: Final = 300

Predict = Callable[[Floats], Floats]


def main() -> None:
    """Parse the command line, measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder of photographs")
    parser.add_argument("--model", type=Path, default=Path("models/photos"))
    parser.add_argument("--count", type=int, default=200, help="number of images")
    parser.add_argument("--speed", action="store_true", help="measure forward passes instead")
    options = parser.parse_args()
    try:
        model = artifact.read(options.model)
    except PrismError as error:
        sys.exit(f"error: {error}")
    if model.onnx is None or not isinstance(model.manifest.preprocess, PhotoPreprocess):
        sys.exit(f"error: {options.model} is not a photo model with an ONNX graph")
    files = sorted(path for path in options.images.iterdir() if path.is_file())
    if options.speed:
        measure_speed(model.onnx, model, files[0])
    else:
        measure_scores(model, files[: options.count])


def measure_scores(model: Artifact, files: list[Path]) -> None:
    """Print the mean scores of each kind of heat map, with the standard error."""
    runtime = runtimes.load(model, "onnx")
    manifest = model.manifest
    temperature = manifest.calibration.temperature if manifest.calibration else 1.0
    rng = np.random.default_rng(0)
    scores: dict[str, list[tuple[float, float]]] = {}

    def predict(rows: Floats) -> Floats:
        parts = [runtime(rows[i : i + _BATCH]) for i in range(0, len(rows), _BATCH)]
        return apply.probabilities(np.concatenate(parts), manifest.output, temperature)

    for path in files:
        row = Decoder(manifest.preprocess, ImageReader()).locate(path.read_bytes()).row
        label = int(predict(row[np.newaxis])[0].argmax())
        for name, heat in _heat_maps(runtime, model, row, label, predict, rng):
            scores.setdefault(name, []).append(_score(row, model, heat, label, predict))
    print(f"{len(files)} images, {manifest.name}\n")
    print("| heat map | deletion (lower is better) | insertion (higher is better) |")
    print("| --- | --- | --- |")
    for name, pairs in scores.items():
        mean = np.mean(pairs, axis=0)
        error = np.std(pairs, axis=0) / len(pairs) ** 0.5
        cells = [f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, error, strict=True)]
        print(f"| {name} | {cells[0]} | {cells[1]} |")


def _heat_maps(
    runtime: runtimes.Runtime,
    model: Artifact,
    row: Floats,
    label: int,
    predict: Predict,
    rng: np.random.Generator,
) -> Iterator[tuple[str, Floats]]:
    if isinstance(runtime, OnnxRuntime) and (found := runtime.activation_maps(row[np.newaxis])):
        yield "class activation map", found[1][0]
    yield "occlusion", asyncio.run(_occlusion(model, row, label, predict))
    y, x = np.mgrid[-1:1:9j, -1:1:9j]
    yield "distance from the center", -np.hypot(x, y).astype(np.float32)
    yield "random", rng.random((_RANDOM_CELLS, _RANDOM_CELLS), dtype=np.float32)


async def _occlusion(model: Artifact, row: Floats, label: int, predict: Predict) -> Floats:
    async def predict_async(rows: Floats) -> Floats:
        return predict(rows)

    maps = occlusion.measure(row, model.manifest.preprocess, label, predict_async, _BATCH)
    return [heat async for heat in maps][-1]


def _score(
    row: Floats, model: Artifact, heat: Floats, label: int, predict: Predict
) -> tuple[float, float]:
    """Return the deletion and the insertion score of a heat map (h, w) of the input."""
    is_first = getattr(model.manifest.preprocess, "layout", "NCHW") == "NCHW"
    planes = row if is_first else row.transpose(2, 0, 1)
    channels, height, width = planes.shape
    resized = Image.fromarray(heat).resize((width, height), Image.Resampling.BICUBIC)
    order = np.argsort(-np.asarray(resized), axis=None, kind="stable")
    pixels = planes.reshape(channels, -1)
    mean = pixels.mean(axis=1, keepdims=True)
    blurred = np.stack([_blur(plane) for plane in planes]).reshape(channels, -1)
    rows = np.empty((2, _STEPS + 1, channels, height * width), dtype=np.float32)
    rows[0], rows[1] = pixels, blurred
    for step in range(_STEPS + 1):
        first = order[: len(order) * step // _STEPS]
        rows[0, step][:, first] = mean
        rows[1, step][:, first] = pixels[:, first]
    inputs = rows.reshape(-1, channels, height, width)
    inputs = inputs if is_first else np.ascontiguousarray(inputs.transpose(0, 2, 3, 1))
    curves = predict(inputs)[:, label].reshape(2, -1)
    deletion, insertion = ((curves[:, 1:] + curves[:, :-1]) / 2).mean(axis=1).tolist()
    return deletion, insertion


def _blur(plane: Floats) -> Floats:
    image = Image.fromarray(np.ascontiguousarray(plane))
    small = image.resize((image.width // _BLUR, image.height // _BLUR), Image.Resampling.BOX)
    return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC))


def measure_speed(graph: Path, model: Artifact, image: Path) -> None:
    """Print the duration of a forward pass without and with the activation map, interleaved."""
    row = Decoder(model.manifest.preprocess, ImageReader()).locate(image.read_bytes()).row
    for threads in (1, 2):
        runtime = OnnxRuntime(graph, threads=threads)
        seconds: dict[str, list[float]] = {"without": [], "with": []}
        for _ in range(_SPEED_RUNS):
            for name, run in (("without", runtime), ("with", runtime.activation_maps)):
                started = time.perf_counter()
                run(row[np.newaxis])
                seconds[name].append(time.perf_counter() - started)
        cells = [f"{name} {1e3 * statistics.median(each):.2f} ms (fastest {1e3 * min(each):.2f})"
                 for name, each in seconds.items()]  # fmt: skip
        print(f"{threads} threads: {', '.join(cells)}")


if __name__ == "__main__":
    main()
