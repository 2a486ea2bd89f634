"""Keras, TensorFlow, TensorFlow Lite and Teachable Machine: converted to ONNX by tf2onnx.

TensorFlow runs in an environment of its own, which is created when it is needed.
"""

import argparse
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile, ZipFile, is_zipfile

from backend.inference.preprocessing.photos import PhotoPreprocess
from training.package import onnx_import, onnx_metadata, onnx_scaling
from training.package.converters import environment
from training.package.imported import Imported
from training.package.kinds import bundles, keras_preprocessing, onnx_graph
from training.package.kinds.files import first_bytes, verify_checksum, zip_names
from training.package.kinds.recipes import in_double_quotes
from training.package.labels import parse_labels
from training.package.model_spec import PackageError
from training.package.onnx_import import OnnxGraph

_HDF5: Final = b"\x89HDF\r\n"
_TFLITE: Final = b"TFL3"
_TEACHABLE: Final = ("keras_model.h5", "model_unquant.tflite")
_TEACHABLE_QUANTIZED: Final = "model.tflite"
_SUFFIXES: Final = (".h5", ".keras", ".tflite")
_SAVED_MODEL: Final = "saved_model.pb"
_TFJS: Final = "model.json"
_INDEXES: Final = (_SAVED_MODEL, _TFJS)  # files that belong to the others in their folder
_MAX_LABELS: Final = 10_000_000  # bytes
_CODE: Final = "LAMBDA "  # how the converter's refusal of Python code begins

_RECIPE: Final = """
    python -m venv convert && convert/bin/pip install tensorflow tf2onnx
    convert/bin/python -c "import keras; m = keras.models.load_model({source}, safe_mode=False); \\
m.export('model.onnx', format='onnx', input_signature=m.inputs)"
    .venv/bin/python -m training.package {name} model.onnx"""


@dataclass(frozen=True)
class _Source:
    """A model in a folder or file, and the kind that the converter calls it by."""

    kind: str
    path: Path


def matches(path: Path) -> bool:
    """Return whether a file, or a file in a folder or zip, is a model of TensorFlow."""
    if _kind_of(path) or path.name in _INDEXES:
        return True
    names = {Path(name).name for name in bundles.names(path)}
    is_tfjs = _TFJS in names and "weights.bin" in names
    is_file = any(name.endswith(_SUFFIXES) for name in names)
    return is_tfjs or is_file or _SAVED_MODEL in names


def read(path: Path, options: argparse.Namespace) -> Imported:
    """Return the converted network with the labels and the preprocessing that the files tell."""
    path = path.parent if path.name in _INDEXES else path
    if path.is_file():
        digest = f" (SHA-256 `{verify_checksum(path, options.sha256)}`)"
    elif options.sha256:
        raise PackageError(f"{path} is a folder; --sha256 requires a file")
    else:
        digest = f" (SHA-256 of its files `{_digest_folder(path)}`)"
    if kind := _kind_of(path):
        return _import(_Source(kind, path), path, digest, options, None)
    with bundles.opened(path) as folder:
        return _import(_find(folder, path), path, digest, options, bundles.find_labels(folder))


def _import(
    source: _Source, path: Path, digest: str, options: argparse.Namespace, labels: Path | None
) -> Imported:
    try:
        model, facts = environment.convert(environment.TENSORFLOW, source.kind, source.path)
    except environment.RefusedError as error:
        raise PackageError(_explain(str(error), path, options.name)) from error
    graph = onnx_import.describe_graph(model, path, options.output_name)
    origin = f"The classifier `{path.name}`{digest}, converted to ONNX."
    imported = onnx_graph.describe(graph, origin, options, labels_file=labels)
    provenance = dict(imported.provenance)
    spec, known = imported.spec, imported.labels
    if found := _find_spec(source, graph, facts, has_labels=labels is not None):
        spec, provenance["preprocess"] = found
    if known is None and source.kind == "tflite":
        known = _read_embedded_labels(source.path)
        if known:
            provenance["labels"] = "the metadata of TensorFlow Lite"
    return replace(imported, spec=spec, labels=known, provenance=provenance)


def _find_spec(
    source: _Source, graph: OnnxGraph, facts: dict[str, Any], *, has_labels: bool
) -> tuple[PhotoPreprocess, str] | None:
    """Return the preprocessing that the converted graph does not tell, and where it comes from."""
    is_teachable = source.kind == "tfjs" or source.path.name in _TEACHABLE
    if is_teachable or (source.path.name == _TEACHABLE_QUANTIZED and has_labels):
        return keras_preprocessing.teachable_machine(graph)
    if source.kind == "tflite":
        known = (keras_preprocessing.quantized, keras_preprocessing.normalized)
        for find in known:
            if found := find(graph, facts["input"]):
                return found
    if onnx_graph.has_known_range(graph):
        return None
    found = keras_preprocessing.find_architecture(facts["layers"], graph)
    takes_pixels = onnx_scaling.has_small_weights(graph.model.graph)
    if found and takes_pixels and min(found[0].std) > onnx_metadata.RAW_STD:
        return None  # its scale was merged into the weights
    return found


def _kind_of(path: Path) -> str | None:
    if path.is_dir():
        return "saved_model" if (path / _SAVED_MODEL).is_file() else None
    start = first_bytes(path, 8)
    if start.startswith(_HDF5[:6]):
        return "keras"
    if start[4:8] == _TFLITE:
        return "tflite"
    return "keras" if {"config.json", "model.weights.h5"} <= set(zip_names(path)) else None


def _find(folder: Path, path: Path) -> _Source:
    """Return the one model in a folder; raise PackageError if there are several."""
    found = []
    for name in bundles.names(folder):
        file = folder / name
        if file.name == _SAVED_MODEL:
            found.append(_Source("saved_model", file.parent))
        elif file.name == _TFJS:
            found.append(_Source("tfjs", file.parent))
        elif file.suffix in _SUFFIXES and (kind := _kind_of(file)):
            found.append(_Source(kind, file))
    if len(found) != 1:
        names = ", ".join(str(each.path.relative_to(folder)) for each in found[:5]) or "none"
        raise PackageError(f"{path} must hold one model; it holds {names}; pass one of them")
    return found[0]


def _explain(reason: str, path: Path, name: str) -> str:
    if not reason.startswith(_CODE):
        return (
            f"{path} cannot be converted: {reason}. Another way: in the program that trained it, "
            "type model.export('model.onnx', format='onnx', input_signature=model.inputs), and "
            "package model.onnx"
        )
    recipe = _RECIPE.format(source=in_double_quotes(repr(str(path))), name=name)
    return (
        f"{path}: {reason.removeprefix(_CODE)}. Replace it by a layer such as Rescaling, or, if "
        f"you trust the file, type:{recipe}"
    )


def _digest_folder(path: Path) -> str:
    digest = hashlib.sha256()
    for name in bundles.names(path):
        digest.update(name.encode())
        digest.update(verify_checksum(path / name, None).encode())
    return digest.hexdigest()


def _read_embedded_labels(path: Path) -> tuple[str, ...] | None:
    """Return the labels that TensorFlow Lite's metadata appends to a model as a zip."""
    if not is_zipfile(path):
        return None
    try:
        with ZipFile(path) as archive:
            texts = [each for each in archive.infolist() if each.filename.endswith(".txt")]
            if len(texts) != 1 or texts[0].file_size > _MAX_LABELS:
                return None
            lines = archive.read(texts[0]).decode("utf-8").splitlines()
    except (BadZipFile, UnicodeDecodeError, OSError):
        return None
    return parse_labels([line.strip() for line in lines if line.strip()])
