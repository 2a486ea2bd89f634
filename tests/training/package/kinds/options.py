"""The options of the command line, for tests that call a kind's `read`."""

import argparse
from pathlib import Path
from typing import Any

DEFAULTS: dict[str, Any] = {
    "name": "net",
    "architecture": None,
    "head": None,
    "labels": None,
    "preprocess": None,
    "output": None,
    "output_name": None,
    "task": None,
    "sha256": None,
    "pretrained": False,
    "onnx": None,
    "checkpoint": None,
    "out": Path("models"),
}


def options(**changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**DEFAULTS | changes)
