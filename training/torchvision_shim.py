"""Import torchvision beside a torch it was not built for.

A torchvision built for CUDA registers its operators for CUDA only and fails on import beside a
torch for the CPU ("operator torchvision::nms does not exist"). Declaring the two operators first
is all it needs for data sets, transforms and classification. Import this module before
torchvision, and only where torchvision is imported.
"""

import contextlib

import torch

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def declare_operators() -> None:
    """Declare torchvision's `nms` and `qnms`; what is declared already stays as it is."""
    for name in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):
            torch.library.define(f"torchvision::{name}", SCHEMA)


declare_operators()
