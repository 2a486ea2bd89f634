"""Model folders and applications for tests that need no real network."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from backend.app import create_app
from backend.inference import artifact
from backend.inference.artifact import Artifact, Manifest
from backend.inference.digits import DigitPreprocess
from backend.inference.runtimes import Runtime
from backend.inference.runtimes.fake_runtime import FakeRuntime
from backend.settings import Settings

DIGITS = tuple("0123456789")


def write_model(models_dir: Path, name: str = "fake", **fields: Any) -> Path:
    """Write a model folder whose network is only a placeholder."""
    folder = models_dir / name
    folder.mkdir(parents=True)
    (folder / artifact.ONNX).write_bytes(b"placeholder")
    given = {"name": name, "version": "1", "architecture": "onnx", "labels": DIGITS, "files": {}}
    manifest = Manifest.model_validate(given | {"preprocess": DigitPreprocess()} | fields)
    artifact.write_manifest(folder, manifest)
    return folder


def fake_load(runtime: Runtime | None = None) -> Callable[..., Runtime]:
    """A stand-in for `runtimes.load` that gives `runtime`, or a fake one."""

    def load(model: Artifact, *_: object, **__: object) -> Runtime:
        return runtime or FakeRuntime(len(model.manifest.labels))

    return load


@contextmanager
def serve(
    models_dir: Path, runtime: Runtime | None = None, **settings: Any
) -> Iterator[TestClient]:
    """Run the application in this process on the models in `models_dir`, with a fake runtime."""
    app = create_app(Settings(models_dir=models_dir, **settings), fake_load(runtime))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
