"""The raw limit: decoding, preprocessing and the forward pass on all cores, without a server.

    echo '{"model": "FOLDER", "images": ["a.jpg"], "seconds": 5, "sequential_only": false}' \\
        | python -m benchmarks.serving.raw_limit

The fastest of three arrangements counts: one image after the other, with all cores in the forward
pass; decoding in parallel with the forward pass; one single-threaded runner per core.
"""

import io
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.serving.machine import available_cores
from benchmarks.serving.stats import quantile

Floats = NDArray[np.float32]
Images = Sequence[bytes]  # JPEG
Forward = Callable[[Floats], Floats]

_RESIZED, _CROP = 256, 224  # pixels
_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_STD = np.array((0.229, 0.224, 0.225), np.float32)
_DECODED_AHEAD = 4  # images


@dataclass(frozen=True)
class RawLimit:
    """Throughput and latency without a server."""

    rates: dict[str, float]  # images per second of each arrangement
    latency_ms: float  # median of decoding, preprocessing and forward pass of one image

    @property
    def best(self) -> str:
        """Return the name of the fastest arrangement."""
        return max(self.rates, key=lambda name: self.rates[name])

    @property
    def rate(self) -> float:
        """Return the images per second of the fastest arrangement."""
        return self.rates[self.best]


def preprocess(content: bytes) -> Floats:
    """Convert a JPEG to the input of an ImageNet classifier, float32 (1, 3, 224, 224).

    The shorter side is resized to 256 and the center is cropped, in one resampling step. Large
    images are decoded at a reduced scale, which JPEG supports.
    """
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        scale = _RESIZED / min(width, height)
        image.draft("RGB", (round(width * scale), round(height * scale)))
        rgb = image.convert("RGB")
    side = _CROP / _RESIZED * min(rgb.size)
    left, top = (rgb.width - side) / 2, (rgb.height - side) / 2
    box = (left, top, left + side, top + side)
    resized = rgb.resize((_CROP, _CROP), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(resized, np.float32)
    pixels *= 1 / (255 * _STD)
    pixels -= _MEAN / _STD
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))[np.newaxis]


def load_model(folder: Path, threads: int) -> Forward:
    """Load `model.onnx` of a model folder; idle threads do not spin."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = str(folder / "model.onnx")
    session: Any = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name

    def forward(batch: Floats) -> Floats:
        outputs: Floats = session.run([output], {name: batch})[0]
        return outputs

    return forward


def measure(model: Path, images: Images, seconds: float, sequential_only: bool) -> RawLimit:
    """Measure each arrangement for `seconds`."""
    cores = len(available_cores())
    multi_threaded, single_threaded = load_model(model, cores), load_model(model, 1)
    for forward in (multi_threaded, single_threaded):
        forward(preprocess(images[0]))
    rate, latency_ms = run_sequentially(multi_threaded, images, seconds)
    rates = {"sequential": rate}
    if not sequential_only:
        rates["parallel decoding"] = run_parallel_decoding(multi_threaded, images, seconds)
        rates["one runner per core"] = run_on_each_core(single_threaded, images, seconds, cores)
    return RawLimit(rates, latency_ms)


def run_sequentially(forward: Forward, images: Images, seconds: float) -> tuple[float, float]:
    """Return images per second and the median duration per image in milliseconds."""
    times = []
    begin = now = perf_counter()
    for number in count():
        forward(preprocess(images[number % len(images)]))
        before, now = now, perf_counter()
        times.append(1000 * (now - before))
        if now - begin > seconds:
            break
    return len(times) / (now - begin), quantile(times, 0.5)


def run_parallel_decoding(forward: Forward, images: Images, seconds: float) -> float:
    """Return images per second if one thread decodes ahead of the forward pass."""
    with ThreadPoolExecutor(1) as pool:

        def decode(number: int) -> Future[Floats]:
            return pool.submit(preprocess, images[number % len(images)])

        ahead = [decode(number) for number in range(_DECODED_AHEAD)]
        begin = now = perf_counter()
        done = 0
        while now - begin < seconds:
            ahead.append(decode(done))
            forward(ahead.pop(0).result())
            done += 1
            now = perf_counter()
    return done / (now - begin)


def run_on_each_core(forward: Forward, images: Images, seconds: float, cores: int) -> float:
    """Return images per second if each core decodes and classifies its own images."""
    begin = perf_counter()

    def run(first: int) -> float:
        for done in count(1):
            forward(preprocess(images[(first + done) % len(images)]))
            elapsed = perf_counter() - begin
            if elapsed > seconds:
                return done / elapsed
        raise AssertionError("count does not end")

    with ThreadPoolExecutor(cores) as pool:
        return sum(pool.map(run, range(cores)))


if __name__ == "__main__":
    job = json.load(sys.stdin)
    images = [Path(name).read_bytes() for name in job["images"]]
    limit = measure(Path(job["model"]), images, job["seconds"], job["sequential_only"])
    print(json.dumps(asdict(limit)))
