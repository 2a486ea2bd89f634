"""Who serves: Prism and its peers, each with the command that its users type."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from benchmarks.serving.paths import CACHE

Runtime = Literal["prism", "torch", "onnx", "none"]


@dataclass(frozen=True)
class Contender:
    """A server as a process: `command` with {port} left open."""

    name: str
    runtime: Runtime
    command: tuple[str, ...]
    needs: str = "fastapi"  # module without which it cannot be started
    path: str = "/predict"

    @property
    def installed(self) -> bool:
        """Whether this environment has what it needs."""
        return find_spec(self.needs) is not None

    def arguments(self, port: int) -> list[str]:
        """The command line that serves on `port`."""
        return [sys.executable, *(word.format(port=port) for word in self.command)]

    def environment(self, model: Path, port: int) -> dict[str, str]:
        """The variables that make it serve one model folder."""
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


def _bentoml(module: str) -> tuple[str, ...]:
    serve = f"benchmarks.serving.peers.{module}:Classifier"
    return ("-m", "bentoml", "serve", serve, "--host", "127.0.0.1", "--port", "{port}")


PRISM = Contender("prism", "prism", ("-m", "backend"), path="/classify")
NOOP = Contender("noop", "none", _uvicorn("noop", "--no-access-log"))
TUTORIAL = Contender("tutorial", "torch", _uvicorn("tutorial"))
LITSERVE = Contender(
    "litserve", "torch", ("-m", "benchmarks.serving.peers.litserve_peer", "{port}"), "litserve"
)
BENTOML = Contender("bentoml", "torch", _bentoml("bentoml_torch"), "bentoml")
LITSERVE_ONNX = Contender(
    "litserve-onnx",
    "onnx",
    ("-m", "benchmarks.serving.peers.litserve_peer", "{port}", "onnx"),
    "litserve",
)
BENTOML_ONNX = Contender("bentoml-onnx", "onnx", _bentoml("bentoml_onnx"), "bentoml")

PEERS = (TUTORIAL, LITSERVE, BENTOML, LITSERVE_ONNX, BENTOML_ONNX)
ALL = (PRISM, *PEERS, NOOP)
RAW = "raw"  # the limit without a server, selected like a contender
