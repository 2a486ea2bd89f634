"""Writes `model.int8.onnx`, the network of a model folder with 8-bit integers.

Weights are int8 with a scale for each channel, activations uint8, in QDQ format (pairs of
QuantizeLinear and DequantizeLinear), which ONNX Runtime and OpenVINO turn into integer arithmetic.
The ranges of the activations are those that occur in the calibration images. The scores and the
activation map are computed in float32 from the last quantized features.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from backend.inference import probes, runtimes
from backend.inference.comparison import compare_answers, describe_difference
from backend.inference.decoder import Decoder
from backend.inference.errors import ImageError
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.inference.preprocessing.model_input import Preprocess, preprocess
from backend.inference.runtimes.onnx_runtime import ACTIVATION_MAP
from backend.inference.types import Floats
from evaluation.sources.base import Source, evenly_spaced
from evaluation.types import Sample
from training.package.model_spec import PackageError

MIN_IMAGES: Final = 200
MAX_IMAGES: Final = 500  # of a larger source, evenly spaced
_PROBE_SEED: Final = 1  # other generated images than those of the plan, which has seed 0
_BATCH_SIZE: Final = 8
_GENERATED: Final = "generated images"
_WEIGHTED: Final = ("Conv", "Gemm", "MatMul")
_OPERATORS: Final = (
    *_WEIGHTED, "Add", "Mul", "Relu", "Clip", "Concat", "MaxPool", "AveragePool",
    "GlobalAveragePool", "Reshape", "Flatten", "Transpose", "Squeeze",
)  # fmt: skip
_FLOAT_SCORES: Final = {"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]}
CARD: Final = """
## Quantized graph

`model.int8.onnx` computes with 8-bit integers. Its ranges were set with {images}. The service
uses it only where it is faster and its answers agree (docs/models.md).
"""
_CARD_SECTION: Final = re.compile(r"^## Quantized graph\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)


def quantize_folder(model: Artifact, source: Source | None) -> list[str]:
    """Write the quantized graph into the folder of `model`; return the lines of a report.

    `source` holds at least MIN_IMAGES images like those that the model will get; None: generated
    images. Raise PackageError if fewer can be read, or if the graph cannot be quantized.
    """
    if model.onnx is None:
        raise PackageError(
            f"{model.manifest.name} has no model.onnx, which --quantize requires; package it again"
        )
    spec = model.manifest.preprocess
    inputs = list(_generate(spec) if source is None else _read(source, spec))
    if len(inputs) < MIN_IMAGES and source is not None:
        raise PackageError(
            f"{source.name} has {len(inputs)} images that can be read; --quantize needs at least "
            f"{MIN_IMAGES}. Without a source, it uses generated images"
        )
    rows = np.stack(inputs)
    kind = _GENERATED if source is None else "calibration images"
    _quantize(model.onnx, rows, model.folder / artifact.INT8)
    card = model.folder / artifact.CARD
    if card.is_file():
        before = _CARD_SECTION.sub("", card.read_text(encoding="utf-8"))
        section = CARD.format(images=f"{len(rows)} {kind}")
        card.write_text(f"{before.rstrip()}\n{section}", encoding="utf-8")
    model = artifact.write_manifest(model.folder, model.manifest)
    return _report(model, rows, kind)


def _generate(spec: Preprocess) -> Iterator[Floats]:
    for image in probes.draw_probes(spec, seed=_PROBE_SEED):
        yield preprocess(image, spec)


def _read(source: Source, spec: Preprocess) -> Iterator[Floats]:
    decoder = Decoder(spec, ImageReader())
    for sample in source.samples(evenly_spaced(len(source), MAX_IMAGES)):
        if isinstance(sample, Sample):
            try:
                yield decoder.decode(sample.content).rows[0]
            except ImageError:
                continue


def _quantize(path: Path, rows: Floats, target: Path) -> None:
    """Write the graph `path` in 8-bit integers to `target`, with the ranges of `rows`."""
    with TemporaryDirectory() as folder:
        prepared = _prepare(path, Path(folder))
        graph = onnx.load(prepared).graph
        first = graph.input[0]
        if first.type.tensor_type.elem_type != TensorProto.FLOAT:
            raise PackageError("--quantize requires a graph with float32 inputs")
        if not any(node.op_type in _WEIGHTED for node in graph.node):
            raise PackageError(
                "the graph has no convolution and no matrix product: quantizing it gains nothing"
            )
        # A graph with a fixed batch size is given batches of this size.
        size = first.type.tensor_type.shape.dim[0].dim_value or _BATCH_SIZE
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        with _without_log():
            quantize_static(
                prepared,
                target,
                _Batches(first.name, [each for each in batches if len(each) == size]),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=list(_OPERATORS),
                nodes_to_exclude=[
                    node.name for node in graph.node if node.name.startswith(ACTIVATION_MAP)
                ],
                calibrate_method=CalibrationMethod.MinMax,
                extra_options=_FLOAT_SCORES,
            )


def _prepare(path: Path, folder: Path) -> Path:
    """Write a graph whose weights are float32 and inside, with named nodes; return its path."""
    model = onnx.load(path)
    for node in model.graph.node:
        if node.output[0].startswith(ACTIVATION_MAP):
            node.name = node.output[0]
    whole, prepared = folder / "whole.onnx", folder / "prepared.onnx"
    onnx.save(model, whole)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(prepared)
    # Evaluates Cast nodes of float16 weights, and merges batch normalization into convolutions.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    ort.InferenceSession(whole, options, providers=["CPUExecutionProvider"])
    return prepared


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """The calibration inputs, as `quantize_static` reads them."""

    def __init__(self, name: str, batches: Iterable[Floats]) -> None:
        self._batches = iter([{name: batch} for batch in batches])

    def get_next(self) -> dict[str, Floats] | None:
        return next(self._batches, None)


@contextmanager
def _without_log() -> Iterator[None]:
    """Silence the advice that `quantize_static` logs as warnings of the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _report(model: Artifact, rows: Floats, kind: str) -> list[str]:
    """Return the size of the quantized graph and how far its answers differ."""
    path = model.folder / artifact.INT8
    reference, quantized = (
        runtimes.load(model, "onnx", precision=each) for each in ("fp32", "int8")
    )
    lines = [f"added {path.name} ({path.stat().st_size / 1e6:.1f} MB)"]
    reason = None
    for name, inputs in {kind: rows, "other generated images": _probe(model)}.items():
        agreement = compare_answers(model.manifest, reference, quantized, inputs)
        lines.append(
            f"int8 on {name}: the same label for {agreement.labels:.1%}; the confidence "
            f"differs by {agreement.confidence_difference:.3f} on average"
        )
        reason = describe_difference(agreement)  # of the last ones, on which the service decides
    if reason:
        advice = (
            f"To set better ranges, pass --quantize IMAGES: {MIN_IMAGES} images or more like those "
            "that the model will classify"
            if kind == _GENERATED
            else "Its ranges are those of your images already"
        )
        lines.append(
            f"warning: on a processor like this one, the service will not use {path.name}. "
            f"{reason} {advice}. The model is served by model.onnx as before"
        )
    return lines


def _probe(model: Artifact) -> Iterator[Floats]:
    spec = model.manifest.preprocess
    return (preprocess(image, spec) for image in probes.draw_probes(spec))
