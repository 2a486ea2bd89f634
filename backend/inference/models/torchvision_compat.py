"""Import torchvision beside a torch it was not built for.

A torchvision built for CUDA registers its operators for CUDA only and fails on import beside a
torch for the CPU ("operator torchvision::nms does not exist"). Declaring the two operators first
is all it needs for data sets, transforms and classification.
"""

from contextlib import suppress
from importlib import import_module
from typing import Any

import torch

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def load(name: str) -> Any:
    """Import the module `torchvision.NAME`; raises ImportError where there is no torchvision."""
    for operator in ("nms", "qnms"):
        with suppress(RuntimeError):  # declared already
            torch.library.define(f"torchvision::{operator}", SCHEMA)
    return import_module(f"torchvision.{name}")
