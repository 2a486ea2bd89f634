"""The compared systems: Prism and its peers, each with the command that its users run."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from benchmarks.serving.assets import CACHE

Runtime = Literal["prism", "torch", "onnx", "none"]


@dataclass(frozen=True)
class System:
    """A server that runs as a process; `command` contains the placeholder {port}."""

    name: str
    runtime: Runtime
    command: tuple[str, ...]
    required_module: str = "fastapi"
    path: str = "/predict"

    @property
    def is_installed(self) -> bool:
        """Return whether this environment contains the required module."""
        return find_spec(self.required_module) is not None

    def command_line(self, port: int) -> list[str]:
        """Return the command that serves on `port`."""
        return [sys.executable, *(word.format(port=port) for word in self.command)]

    def environment(self, model: Path, port: int) -> dict[str, str]:
        """Return the environment variables that select the model folder."""
        if self.runtime != "prism":
            return {"BENCH_MODEL": str(model), "BENTOML_DO_NOT_TRACK": "True"}
        return {
            "PORT": str(port),
            "PRISM_MODELS_DIR": str(model.parent),
            "PRISM_MODELS": model.name,
            "PRISM_MEASURE": "true",
            "PRISM_DATA_DIR": str(CACHE / "data"),
        }


def _uvicorn(module: str, *options: str) -> tuple[str, ...]:
    return ("-m", "uvicorn", f"benchmarks.serving.peers.{module}:app", "--port", "{port}", *options)


def _bentoml(service: str) -> tuple[str, ...]:
    service = f"benchmarks.serving.peers.bentoml_peer:{service}"
    return ("-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--port", "{port}")


PRISM = System("prism", "prism", ("-m", "backend"), path="/classify")
NOOP = System("noop", "none", _uvicorn("noop", "--no-access-log"))
TUTORIAL = System("tutorial", "torch", _uvicorn("tutorial"))
_LITSERVE = ("-m", "benchmarks.serving.peers.litserve_peer", "{port}")
LITSERVE = System("litserve", "torch", _LITSERVE, "litserve")
BENTOML = System("bentoml", "torch", _bentoml("TorchClassifier"), "bentoml")
LITSERVE_ONNX = System("litserve-onnx", "onnx", (*_LITSERVE, "onnx"), "litserve")
BENTOML_ONNX = System("bentoml-onnx", "onnx", _bentoml("OnnxClassifier"), "bentoml")

PEERS = (TUTORIAL, LITSERVE, BENTOML, LITSERVE_ONNX, BENTOML_ONNX)
ALL = (PRISM, *PEERS, NOOP)
RAW = "raw"  # the limit without a server, selectable like a system
