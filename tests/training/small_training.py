"""Trains on small datasets, in a separate process that can kill itself."""

import gzip
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from backend.inference.preprocessing.digit_crop import DigitPreprocess, find_digit
from tests.conftest import ROOT
from training.data import synthetic_handwriting
from training.data.digits import FILES

SIZES = {
    "MNIST_VALIDATION_COUNT": 10,
    "UCI_VARIANTS": 1,
    "HANDWRITING_VARIANTS": 2,
    "PRINT_VARIANTS": 10,
    "UCI_VALIDATION_VARIANTS": 1,
    "HANDWRITING_VALIDATION_VARIANTS": 2,
    "PRINT_VALIDATION_VARIANTS": 2,
    "NEGATIVE_COUNT": 10,
    "NEGATIVE_VALIDATION_COUNT": 10,
}


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    header = struct.pack(">I", 0x800 + values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes(), 1))


def draw_crops(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return synthetic crops (N, 28, 28) and their labels (N,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.uint8) % 10
    crops = [
        find_digit(synthetic_handwriting.draw_digit(int(label), rng), DigitPreprocess())
        for label in labels
    ]
    return np.stack(crops), labels


def write_small_mnist(folder: Path) -> Path:
    for (images, labels), count in zip(FILES.values(), (40, 20), strict=True):
        pixels, truth = draw_crops(count, count)
        write_idx(folder / images, pixels)
        write_idx(folder / labels, truth)
    return folder


def create_work_folder(folder: Path, rendered: Path) -> Path:
    """Create a folder to train in, which reads rendered images from the cache `rendered`."""
    (folder / "runs").mkdir()
    (folder / "runs" / "rendered").symlink_to(rendered)
    return folder


def run(
    folder: Path, *arguments: str, kill_after: int | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Train in `folder`; with `kill_after`, SIGKILL during the epoch after that one."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "WANDB_"))}
    return subprocess.run(
        [sys.executable, "-m", "tests.training.small_training", *arguments],
        cwd=folder,
        env={
            **inherited,
            "PYTHONPATH": str(ROOT),
            "KILL_AFTER": str(kill_after or 0),
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=300,
    )


def _kill_after(epochs: int) -> None:
    """Kill this process at the second batch after `epochs` checkpoints were written."""
    from training.data.augmentation import augment
    from training.fit import checkpoints, loop

    saved, batches = 0, 0
    save = checkpoints.Checkpoints.save

    def count_save(target: checkpoints.Checkpoints, epoch: int, state: checkpoints.State) -> None:
        nonlocal saved
        save(target, epoch, state)
        saved += 1

    def augment_or_die(*arguments: Any) -> Any:
        nonlocal batches
        batches += saved >= epochs
        if batches == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return augment(*arguments)

    mock.patch.object(checkpoints.Checkpoints, "save", count_save).start()
    mock.patch.object(loop, "augment", augment_or_die).start()


if __name__ == "__main__":
    from training import train
    from training.data import sources

    for name, value in SIZES.items():
        setattr(sources, name, value)
    if os.environ["KILL_AFTER"] != "0":
        _kill_after(int(os.environ["KILL_AFTER"]))
    train.main(sys.argv[1:])
