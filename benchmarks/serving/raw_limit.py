"""The raw limit: decoding, preprocessing and the forward pass on all cores, with no server.

    echo '{"model": "FOLDER", "pictures": ["a.jpg"], "seconds": 5, "bare": false}' \\
        | .venv-benchmarks/serving/bin/python -m benchmarks.serving.raw_limit

Three arrangements are tried, and the fastest one counts: one picture after the other with all
cores in the forward pass; decoding beside the forward pass; on each core a runner of its own.
"""

import io
import json
import os
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

from benchmarks.serving.stats import quantile

Floats = NDArray[np.float32]

_SIDE, _CROP = 256, 224
_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_STD = np.array((0.229, 0.224, 0.225), np.float32)
_AHEAD = 4  # pictures decoded before they are needed


@dataclass(frozen=True)
class Limit:
    """What the machine could do: pictures a second by arrangement, and the latency of one."""

    arrangements: dict[str, float]
    bare_ms: float  # median of decoding, preprocessing and forward pass, one after the other

    @property
    def best(self) -> str:
        """The name of the fastest arrangement."""
        return max(self.arrangements, key=lambda name: self.arrangements[name])

    @property
    def rate(self) -> float:
        """Pictures a second of the fastest arrangement."""
        return self.arrangements[self.best]


def prepare(data: bytes) -> Floats:
    """A JPEG -> an input, float32 (1, 3, 224, 224), as ImageNet's classifiers want it.

    The shorter side becomes 256 and the middle is cropped, in one resampling. A large picture is
    decoded at a reduced scale, which the format allows for.
    """
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        scale = _SIDE / min(width, height)
        image.draft("RGB", (round(width * scale), round(height * scale)))
        rgb = image.convert("RGB")
    side = _CROP / _SIDE * min(rgb.size)
    left, top = (rgb.width - side) / 2, (rgb.height - side) / 2
    seen = rgb.resize(
        (_CROP, _CROP), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
    )
    pixels = np.asarray(seen, np.float32)
    pixels *= 1 / (255 * _STD)
    pixels -= _MEAN / _STD
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))[np.newaxis]


def session(model: Path, threads: int) -> Callable[[Floats], Floats]:
    """Load `model.onnx` of a model folder, with threads that wait instead of spinning."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    loaded: Any = ort.InferenceSession(
        str(model / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    name = loaded.get_inputs()[0].name

    def forward(batch: Floats) -> Floats:
        outputs: Floats = loaded.run(None, {name: batch})[0]
        return outputs

    return forward


def measure(model: Path, pictures: Sequence[bytes], seconds: float, *, bare: bool = False) -> Limit:
    """Try every arrangement for `seconds` each; with `bare` only the first one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    wide, narrow = session(model, cores), session(model, 1)
    for forward in (wide, narrow):
        forward(prepare(pictures[0]))
    rate, bare_ms = one_after_the_other(wide, pictures, seconds)
    rates = {"one after the other": rate}
    if not bare:
        rates["decoding beside"] = decoding_beside(wide, pictures, seconds)
        rates["a runner on each core"] = runners(narrow, pictures, seconds, cores)
    return Limit(rates, bare_ms)


def one_after_the_other(
    forward: Callable[[Floats], Floats], pictures: Sequence[bytes], seconds: float
) -> tuple[float, float]:
    """Pictures a second, and the median time of one in milliseconds."""
    times = []
    begin = now = perf_counter()
    for number in count():
        forward(prepare(pictures[number % len(pictures)]))
        before, now = now, perf_counter()
        times.append(1000 * (now - before))
        if now - begin > seconds:
            break
    return len(times) / (now - begin), quantile(times, 0.5)


def decoding_beside(
    forward: Callable[[Floats], Floats], pictures: Sequence[bytes], seconds: float
) -> float:
    """Pictures a second where one thread decodes ahead of the forward pass."""
    with ThreadPoolExecutor(1) as pool:

        def decode(number: int) -> Future[Floats]:
            return pool.submit(prepare, pictures[number % len(pictures)])

        ahead = [decode(number) for number in range(_AHEAD)]
        begin = now = perf_counter()
        done = 0
        while now - begin < seconds:
            ahead.append(decode(done))
            forward(ahead.pop(0).result())
            done += 1
            now = perf_counter()
    return done / (now - begin)


def runners(
    forward: Callable[[Floats], Floats], pictures: Sequence[bytes], seconds: float, cores: int
) -> float:
    """Pictures a second where each core does all the work of its own pictures."""
    begin = perf_counter()

    def run(first: int) -> float:
        for done in count(1):
            forward(prepare(pictures[(first + done) % len(pictures)]))
            took = perf_counter() - begin
            if took > seconds:
                return done / took
        raise AssertionError("count does not end")

    with ThreadPoolExecutor(cores) as pool:
        return sum(pool.map(run, range(cores)))


if __name__ == "__main__":
    job = json.load(sys.stdin)
    shown = [Path(name).read_bytes() for name in job["pictures"]]
    found = measure(Path(job["model"]), shown, job["seconds"], bare=job["bare"])
    print(json.dumps(asdict(found)))
