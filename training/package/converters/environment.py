"""Environments of other frameworks, in which converters run as processes of their own.

They are created by venv and pip, from the index that pip is configured for, in a cache folder.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import onnx

from training.package import onnx_files
from training.package.model_spec import PackageError

_ROOT: Final = Path(__file__).resolve().parents[3]
_READY: Final = "prism-ready"
_TIMEOUT: Final = 1800  # seconds of a conversion
_MAX_REASON: Final = 300  # characters
_KEPT_VARIABLES: Final = ("PATH", "LANG", "LD_LIBRARY_PATH")
_LAST_PYTHON: Final = (3, 12)


@dataclass(frozen=True)
class Converter:
    """A script and what it needs; `without_dependencies` is installed last."""

    name: str
    script: Path
    requirements: Path
    without_dependencies: tuple[str, ...]
    cost: str  # time and disk


TENSORFLOW: Final = Converter(
    name="tensorflow",
    script=Path(__file__).with_name("tensorflow_to_onnx.py"),
    requirements=_ROOT / "requirements" / "tensorflow-converter.txt",
    without_dependencies=("tf-keras==2.19.0",),
    cost="some minutes and 1.6 GB of disk",
)


class RefusedError(PackageError):
    """The converter refuses the model; the message is its reason."""


def convert(
    converter: Converter, kind: str, source: Path
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Return the graph and the facts that a converter returns for a model.

    The environment is created first if it is missing. Raise RefusedError with the converter's
    reason, or PackageError if it fails.
    """
    python = prepare(converter)
    print(f"converting {source.name} to ONNX", file=sys.stderr, flush=True)
    with TemporaryDirectory() as folder:
        target = Path(folder) / "model.onnx"
        command = [str(python), str(converter.script), kind, str(source.resolve()), str(target)]
        done = _run(command, _TIMEOUT, cwd=folder, env=_plain_environ(folder))
        facts_file = target.with_suffix(".json")
        if done.returncode or not facts_file.is_file():
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            reason = lines[-1].strip()[:_MAX_REASON] if lines else f"exit code {done.returncode}"
            raise PackageError(f"{source} could not be converted to ONNX: {reason}")
        facts = json.loads(facts_file.read_text())
        if "error" in facts:
            raise RefusedError(facts["error"])
        return onnx_files.load(target), facts


def cache_folder() -> Path:
    """Return the folder of all environments: prism/converters in XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "prism" / "converters"


def _plain_environ(home: str) -> dict[str, str]:
    """Return an environment without the caller's variables, which may hold secrets."""
    kept = {key: value for key, value in os.environ.items() if key in _KEPT_VARIABLES}
    return kept | {"HOME": home, "TMPDIR": home}


def prepare(converter: Converter) -> Path:
    """Return the interpreter of the converter's environment, which is created if it is missing."""
    wanted = [converter.requirements.read_text(), *converter.without_dependencies, sys.version]
    digest = hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:12]
    folder = cache_folder() / f"{converter.name}-{digest}"
    python = folder / "bin" / "python"
    if (folder / _READY).exists():
        return python
    if sys.version_info[:2] > _LAST_PYTHON:
        raise PackageError(
            f"the converter needs Python 3.{_LAST_PYTHON[1]} or older; convert the model to ONNX "
            "with tf2onnx elsewhere, and package the ONNX file"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock")):
        if not (folder / _READY).exists():
            _create(converter, folder, python)
    return python


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _create(converter: Converter, folder: Path, python: Path) -> None:
    print(
        f"installing {converter.name} for the conversion into {folder}: once, {converter.cost}",
        file=sys.stderr,
        flush=True,
    )
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True, symlinks=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = [
        [*pip, "--requirement", str(converter.requirements)],
        [*pip, "--no-deps", *converter.without_dependencies],
    ]
    for step in steps:
        done = _run(step, None)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["unknown"]
            raise PackageError(
                f"{converter.name} could not be installed: {lines[-1].strip()[:_MAX_REASON]}; "
                "check the network connection and pip's index, or convert the model to ONNX with "
                "tf2onnx elsewhere and package the ONNX file"
            )
    (folder / _READY).touch()


def _run(
    command: Sequence[str], timeout: int | None, **options: Any
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603
            command, check=False, capture_output=True, text=True, timeout=timeout, **options
        )
    except subprocess.TimeoutExpired as error:
        raise PackageError(f"the conversion took longer than {timeout} seconds") from error
