"""The compared systems: Prism and its peers, each with the command that its users run."""

import os
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from benchmarks.serving.assets import BUNDLED_MODELS, CACHE, ROOT
from benchmarks.serving.heads import create_heads
from benchmarks.serving.http_client import Protocol

Runtime = Literal["prism", "torch", "onnx", "none"]

# `make bench` installs peers whose requirements conflict with Prism's into folders of their own.
OVERLAYS = ROOT / ".venv-bench" / "peers"
RAW = "raw"  # the limit without a server, selectable like a system


@dataclass(frozen=True)
class System:
    """A server that runs as a process; `command` contains the placeholder {port}.

    `heads` is the number of models taught on the model that are served, too; {number} in the path
    stands for the number of one. `variables` are added to its environment, `overlay` is the folder
    below OVERLAYS whose packages it uses first, and `root` is the checkout that it runs.
    """

    name: str
    runtime: Runtime
    command: tuple[str, ...]
    required_module: str = "fastapi"
    path: str = "/predict"
    protocol: Protocol = "form"
    variables: tuple[tuple[str, str], ...] = ()
    overlay: str = ""
    heads: int = 0
    root: Path = ROOT

    @property
    def is_installed(self) -> bool:
        """Return whether this environment contains the required module."""
        if self.overlay:
            return (OVERLAYS / self.overlay / self.required_module).exists()
        return find_spec(self.required_module) is not None

    def command_line(self, port: int) -> list[str]:
        """Return the command that serves on `port`."""
        return [sys.executable, *(word.format(port=port) for word in self.command)]

    def environment(self, model: Path, port: int) -> dict[str, str]:
        """Return the environment variables that select the model folder."""
        python_path = str(self.root)
        if self.overlay:
            python_path += os.pathsep + str(OVERLAYS / self.overlay)
        environment = {"PYTHONPATH": python_path, "PORT": str(port)}
        if self.runtime == "prism":
            environment |= {
                "PRISM_MODELS_DIR": str(self._model_folder(model).parent),
                "PRISM_MODELS": model.name,
                "PRISM_MEASURE": "true",
                "PRISM_DATA_DIR": str(CACHE / "data" / self.name),
            }
        else:
            environment |= {
                "BENCH_MODEL": str(model),
                "BENCH_RUNTIME": self.runtime,
                "BENTOML_DO_NOT_TRACK": "True",
                "GRADIO_ANALYTICS_ENABLED": "False",
                "RAY_USAGE_STATS_ENABLED": "0",
            }
        if self.heads:
            heads = create_heads(self._model_folder(model), self.heads)
            models = [model.name, *(f"{head.name}={head}" for head in heads)]
            environment["PRISM_MODELS"] = ",".join(models)
        return environment | dict(self.variables)

    def _model_folder(self, model: Path) -> Path:
        """Return the model of the checkout that this system runs; only bundled ones differ."""
        if model.parent == BUNDLED_MODELS:
            return self.root / BUNDLED_MODELS.relative_to(ROOT) / model.name
        return model


def variant(system: System, name: str, *options: str, **variables: str) -> System:
    """Return `system` under another name with more options and environment variables."""
    command = (*system.command, *options)
    added = (*system.variables, *variables.items())
    return replace(system, name=name, command=command, variables=added)


def _uvicorn(module: str, *options: str) -> tuple[str, ...]:
    return ("-m", "uvicorn", f"benchmarks.serving.peers.{module}:app", "--port", "{port}", *options)


def _bentoml(service: str) -> tuple[str, ...]:
    service = f"benchmarks.serving.peers.bentoml_peer:{service}"
    return ("-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--port", "{port}")


def _peer(module: str, *options: str) -> tuple[str, ...]:
    return ("-m", f"benchmarks.serving.peers.{module}", "{port}", *options)


PRISM = System("prism", "prism", ("-m", "backend"), path="/classify")
PRISM_TWO = variant(PRISM, "prism-2", WEB_CONCURRENCY="2")
PRISM_NO_HISTORY = variant(PRISM, "prism-no-history", PRISM_HISTORY="false")
PRISM_ALL_MODELS = variant(PRISM, "prism", PRISM_MODELS="")  # every bundled model
PRISM_HEADS = replace(PRISM, name="prism-heads", path="/classify?model=head-{number}", heads=100)
NOOP = System("noop", "none", _uvicorn("noop", "--no-access-log"))
NOOP_TWO = variant(NOOP, "noop-2", "--workers", "2")

TUTORIAL = System("tutorial", "torch", _uvicorn("tutorial"))
TUTORIAL_ONNX = System("tutorial-onnx", "onnx", _uvicorn("tutorial"), "onnxruntime")
LITSERVE = System("litserve", "torch", _peer("litserve_peer"), "litserve")
BENTOML = System("bentoml", "torch", _bentoml("TorchClassifier"), "bentoml")
LITSERVE_ONNX = System("litserve-onnx", "onnx", _peer("litserve_peer", "onnx"), "litserve")
BENTOML_ONNX = System("bentoml-onnx", "onnx", _bentoml("OnnxClassifier"), "bentoml")
GRADIO = System(
    "gradio",
    "torch",
    _uvicorn("gradio_peer"),
    "gradio",
    path="/gradio_api/run/predict",
    protocol="gradio",
    overlay="gradio",
)
# A server with an HTTP front end in Rust, and Ray's, which is installed only on request.
MOSEC = System(
    "mosec-onnx",
    "onnx",
    ("-m", "benchmarks.serving.peers.mosec_peer", "--port", "{port}"),
    "mosec",
    path="/inference",
    protocol="raw",
)
RAY = System(
    "ray-onnx",
    "onnx",
    _peer("ray_peer"),
    "ray",
    overlay="ray",
    variables=(("RAY_AUTH_MODE", "disabled"), ("RAY_raylet_start_wait_time_s", "100")),
)
PEERS = (TUTORIAL, LITSERVE, BENTOML, LITSERVE_ONNX, BENTOML_ONNX)
DIGIT_PEERS = (TUTORIAL, TUTORIAL_ONNX, LITSERVE, BENTOML, GRADIO)
OTHER_SERVERS = (MOSEC, RAY)
ALL = (
    *(PRISM, PRISM_TWO, PRISM_NO_HISTORY, PRISM_HEADS, *PEERS, TUTORIAL_ONNX, GRADIO),
    *(*OTHER_SERVERS, NOOP, NOOP_TWO),
)
