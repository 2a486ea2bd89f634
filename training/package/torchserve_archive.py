"""Archives of TorchServe (`.mar`) whose handler is `image_classifier`, without running their code.

An archive is a zip with MAR-INF/MANIFEST.json, the weights, often the network as a Python file,
and the labels in index_to_name.json. Source: https://github.com/pytorch/serve, model-archiver and
ts/torch_handler/image_classifier.py.
"""

import argparse
import json
import re
import shlex
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from zipfile import BadZipFile, ZipFile, is_zipfile

from training.package.kinds.bundles import require_limits
from training.package.kinds.files import verify_checksum
from training.package.kinds.recipes import suggest_architecture
from training.package.model_spec import PackageError
from training.package.versions import VERSION_PATTERN

SUFFIX: Final = ".mar"

_MANIFEST: Final = "MAR-INF/MANIFEST.json"
_LABELS: Final = "index_to_name.json"
_HANDLER: Final = "image_classifier"
_PREPROCESS: Final = "imagenet"  # the handler's: 256 pixels, crop 224, ImageNet mean and deviation
_WEIGHTS: Final = (".pth", ".pt", ".bin", ".safetensors")
_MAX_TEXT_BYTES: Final = 10_000_000  # of the manifest and of the labels
# Where the values come from that `unpack` sets.
_ORIGINS: Final = {
    "labels": f"{_LABELS} in the archive",
    "preprocess": f"TorchServe's handler {_HANDLER}",
}

# What follows a refusal; names of the archive are quoted, because they are typed into a shell.
_RECIPE: Final = """
    unzip -p {archive} {weights} > weights{suffix}
    .venv/bin/python -m training.package {name} --checkpoint weights{suffix} \\
        --architecture torchvision/ARCHITECTURE --preprocess FILE.json{labels}"""
_SCRIPT_RECIPE: Final = """
    unzip -p {archive} {weights} > script.pt
    python -c "import torch; torch.onnx.export(torch.jit.load('script.pt').eval(), \\
        (torch.zeros(1, 3, 224, 224),), 'model.onnx', dynamo=False, input_names=['image'], \\
        dynamic_axes={{'image': {{0: 'n'}}}})"
    .venv/bin/python -m training.package {name} --onnx model.onnx --preprocess imagenet{labels}"""


@contextmanager
def unpacked(options: argparse.Namespace) -> Iterator[None]:
    """Replace archives in `options` by their files while the context lasts.

    `options.origins` tells where values come from that an archive sets. Errors name the archive
    instead of the temporary folder.
    """
    typed = vars(options).copy()
    archives = [path for path in (options.checkpoint, options.labels) if _is_archive(path)]
    with TemporaryDirectory() as folder:
        try:
            if _is_archive(options.checkpoint):
                unpack(options, Path(folder))
                options.origins = {
                    name: source
                    for name, source in _ORIGINS.items()
                    if getattr(options, name) and not typed[name]
                }
            if _is_archive(options.labels):
                unpack_labels(options, Path(folder))
            yield
        except PackageError as error:
            if not archives:
                raise
            raise PackageError(str(error).replace(folder, str(archives[0]))) from error


def _is_archive(path: Path | None) -> bool:
    return path is not None and path.suffix == SUFFIX


def unpack(options: argparse.Namespace, folder: Path) -> None:
    """Replace an archive in `options.checkpoint` by its weights, which are written to `folder`.

    Its labels, the handler's preprocessing and the version are set, unless the options have others.
    Nothing of the archive is executed, and no name in it becomes a path. Raise PackageError for
    another handler, TorchScript and an archive that is incomplete, with what to type instead.
    """
    path: Path = options.checkpoint
    try:
        verify_checksum(path, options.sha256)
        options.sha256 = None  # that of the archive, not of the weights in it
        with ZipFile(path) as archive:
            require_limits(archive, path)
            _unpack(archive, options, folder)
    except (BadZipFile, zlib.error, EOFError) as error:
        raise PackageError(
            f"{path} is damaged or not a zip; create it by torch-model-archiver with "
            "--archive-format default"
        ) from error
    except OSError as error:
        raise PackageError(f"{path} cannot be read") from error


def unpack_labels(options: argparse.Namespace, folder: Path) -> None:
    """Replace an archive in `options.labels` by a file in `folder` with its labels.

    Raise PackageError if it contains none.
    """
    path: Path = options.labels
    try:
        with ZipFile(path) as archive:
            options.labels = _write_labels(archive, path, folder)
    except (BadZipFile, OSError) as error:
        raise PackageError(f"{path} cannot be read as an archive of TorchServe") from error


def _unpack(archive: ZipFile, options: argparse.Namespace, folder: Path) -> None:
    path: Path = options.checkpoint
    manifest = _read_json(archive, _MANIFEST, path)
    model = manifest.get("model") if isinstance(manifest, dict) else None
    if not isinstance(model, dict):
        raise PackageError(f"{path}: {_MANIFEST} describes no model")
    weights, handler = model.get("serializedFile"), model.get("handler")
    known = archive.namelist()
    if not isinstance(weights, str) or weights not in known or not weights.isprintable():
        raise PackageError(f"{path} contains no serialized file, and thus no weights")
    suffix = Path(weights).suffix.lower()
    suffix = suffix if suffix in _WEIGHTS else ".pth"
    names = {
        "archive": shlex.quote(str(path)),
        "weights": shlex.quote(weights),
        "suffix": suffix,
        "name": options.name,
        "labels": f" --labels {shlex.quote(str(path))}" if _LABELS in known else "",
    }
    if handler != _HANDLER:
        raise PackageError(
            f"{path} has the handler {str(handler)[:100]!r}, whose code is not executed. If the "
            "model classifies images, describe the handler's preprocessing in a JSON file "
            "(docs/models.md) and type:" + _RECIPE.format(**names)
        )
    target = folder / f"{path.stem}{suffix}"
    with archive.open(weights) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
    if _is_torchscript(target):
        raise PackageError(
            f"{path} contains TorchScript, which is a program and is not executed. If you trust "
            "it, type:" + _SCRIPT_RECIPE.format(**names)
        )
    if not options.architecture:
        raise PackageError(
            f"{path} contains the weights of a network whose code is not executed; "
            f"{suggest_architecture(Path(weights))}"
        )
    if not options.labels and _LABELS in known:
        options.labels = _write_labels(archive, path, folder)
    options.preprocess = options.preprocess or _PREPROCESS
    version = model.get("modelVersion")
    is_new = not (options.out / options.name).exists()
    if is_new and isinstance(version, str) and re.fullmatch(VERSION_PATTERN, version):
        options.version = options.version or version
    options.checkpoint = target


def _write_labels(archive: ZipFile, path: Path, folder: Path) -> Path:
    file = folder / "labels.json"
    file.write_text(json.dumps(_read_labels(archive, path)))
    return file


def _read_labels(archive: ZipFile, path: Path) -> list[str]:
    """Return the labels in index_to_name.json: texts, or lists that end in the text.

    The first text of a list, such as a WordNet ID, tells labels apart that are equal.
    """
    found = _read_json(archive, _LABELS, path)
    if isinstance(found, dict) and isinstance(found.get("object_classes"), dict):
        found = found["object_classes"]
    rows = [found.get(str(index)) for index in range(len(found))] if isinstance(found, dict) else []
    texts: list[list[Any]] = [row if isinstance(row, list) else [row] for row in rows]
    if not texts or not all(row and all(isinstance(each, str) for each in row) for row in texts):
        raise PackageError(
            f"{path}: {_LABELS} does not name every class from 0; pass a file with one label per "
            "line as --labels"
        )
    labels = [row[-1] for row in texts]
    return [
        f"{label} ({row[0]})" if labels.count(label) > 1 and len(row) > 1 else label
        for label, row in zip(labels, texts, strict=True)
    ]


def _read_json(archive: ZipFile, name: str, path: Path) -> Any:
    try:
        if archive.getinfo(name).file_size > _MAX_TEXT_BYTES:
            raise PackageError(f"{path}: {name} is larger than {_MAX_TEXT_BYTES:,} bytes")
        return json.loads(archive.read(name))
    except KeyError as error:
        raise PackageError(f"{path} contains no {name}, and is no archive of TorchServe") from error
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{path}: {name} is not valid JSON") from error


def _is_torchscript(path: Path) -> bool:
    if not is_zipfile(path):
        return False
    with ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
