"""Exports a classifier of ultralytics to ONNX, and writes what ultralytics answers for images.

    python -m tests.extended.ultralytics_model IMAGES OUT

runs in an environment with ultralytics. Writes OUT/best.onnx, and its probabilities (N, C) to
OUT/best.npy.
"""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import nn

from backend.inference.models import torchvision_compat

SIDE = 96


def main(images: list[Path], out: Path) -> None:
    """Write the graph and the probabilities of a network with random weights."""
    for part in ("models", "transforms"):
        torchvision_compat.load(part)
    yolo = import_module("ultralytics").YOLO
    torch.manual_seed(0)
    model = yolo("yolov8n-cls.yaml")
    for module in model.model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=5)  # answers differ
    model.model.names = {number: f"thing {number}" for number in range(1000)}
    path = Path(model.export(format="onnx", imgsz=SIDE)).rename(out / "best.onnx")
    exported = yolo(path, task="classify")
    rows = [exported.predict(each, imgsz=SIDE, verbose=False)[0].probs.data for each in images]
    np.save(out / "best.npy", np.stack([row.numpy() for row in rows]))


if __name__ == "__main__":
    main(sorted(Path(sys.argv[1]).glob("*.png")), Path(sys.argv[2]))
