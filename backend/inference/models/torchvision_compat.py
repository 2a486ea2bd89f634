"""Import of torchvision next to a torch that it was not built for.

A torchvision built for CUDA registers its operators for CUDA only. With a CPU build of torch, its
import fails ("operator torchvision::nms does not exist"). Declaring these two operators first is
enough for datasets, transforms and classification. A torchvision that fits registers them itself,
and ends the process if they are declared already.
"""

from contextlib import suppress
from importlib import import_module
from typing import Any

import torch

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def load(name: str) -> Any:
    """Return the module `torchvision.NAME`; raise ImportError if torchvision is not installed."""
    try:
        return import_module(f"torchvision.{name}")
    except RuntimeError:
        for operator in ("nms", "qnms"):
            with suppress(RuntimeError):  # declared already
                torch.library.define(f"torchvision::{operator}", SCHEMA)
        return import_module(f"torchvision.{name}")
