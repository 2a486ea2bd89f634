"""Converts a model of Keras, TensorFlow or TensorFlow Lite to ONNX.

    python tensorflow_to_onnx.py KIND SOURCE TARGET.onnx

runs in the environment of requirements/tensorflow-converter.txt and imports nothing of ours. KIND
is keras, saved_model, tflite or tfjs. Facts about the model are written to TARGET.json: {"error":
TEXT}, or {"layers": [[class, name], ...], "input": {...}}.

Layers that hold Python code (Lambda) are refused before anything is loaded.
"""

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

OPSET = 17
CODE_LAYERS = ("Lambda", "PyFunc")
# Operators of graphs that read or write files or run code.
UNSAFE_OPERATORS = (
    "EagerPyFunc",
    "MergeV2Checkpoints",
    "PyFunc",
    "PyFuncStateless",
    "ReadFile",
    "SaveV2",
    "WriteFile",
)


class RefusedError(Exception):
    """The model cannot be converted; the message says why."""


def read_config(path: Path) -> tuple[Any, str]:
    """Return the decoded configuration of a Keras file and the version of Keras, without code."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
            version = json.loads(archive.read("metadata.json")).get("keras_version", "3")
        return config, version
    import h5py

    with h5py.File(path, "r") as file:
        config, version = file.attrs.get("model_config"), file.attrs.get("keras_version", "2")
    if config is None:
        raise RefusedError(
            "the file holds weights without their network; save the model with "
            "model.save('model.keras')"
        )
    texts = [each.decode() if isinstance(each, bytes) else each for each in (config, version)]
    return json.loads(texts[0]), texts[1]


def list_layers(config: Any) -> list[list[str]]:
    """Return the class and the name of every layer, in the order of the file."""
    found: list[list[str]] = []

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            inner = value.get("config")
            if "class_name" in value and isinstance(inner, dict):
                found.append([str(value["class_name"]), str(inner.get("name", ""))])
            for each in value.values():
                visit(each)
        elif isinstance(value, list):
            for each in value:
                visit(each)

    visit(config)
    return found


def require_no_code(layers: list[list[str]]) -> None:
    """Raise RefusedError if a layer holds Python code."""
    for kind, name in layers:
        if kind in CODE_LAYERS or kind == "__lambda__":
            raise RefusedError(f"LAMBDA the layer {name!r} is Python code, which is not executed")


def load_keras(path: Path) -> tuple[Any, list[list[str]]]:
    """Return a model and its layers; Keras 2 files are read by tf_keras."""
    config, version = read_config(path)
    layers = list_layers(config)
    require_no_code(layers)
    if str(version).startswith(("1.", "2.")):
        import tf_keras as keras
    else:
        import keras
    options: dict[str, bool] = {"compile": False}
    if str(path).endswith(".keras") or zipfile.is_zipfile(path):
        options["safe_mode"] = True
    try:
        return keras.models.load_model(path, **options), layers
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else repr(error)
        raise RefusedError(f"Keras cannot load it: {reason}") from error


def load_tfjs(folder: Path) -> tuple[Any, list[list[str]]]:
    """Return the Keras model in model.json of TensorFlow.js with the weights beside it."""
    import numpy as np
    import tf_keras

    content = json.loads((folder / "model.json").read_text())
    topology = content.get("modelTopology") or {}
    config = topology.get("model_config", topology)
    if content.get("format") == "graph-model" or "class_name" not in config:
        raise RefusedError(
            "a graph model of TensorFlow.js cannot be converted; only layers models can"
        )
    layers = list_layers(config)
    require_no_code(layers)
    weights = {}
    for group in content["weightsManifest"]:
        data = b"".join((folder / Path(name).name).read_bytes() for name in group["paths"])
        offset = 0
        for entry in group["weights"]:
            if "quantization" in entry or entry["dtype"] != "float32":
                raise RefusedError("its weights are quantized; export it without quantization")
            count = int(np.prod(entry["shape"]))
            values = np.frombuffer(data, np.float32, count, offset)
            weights[entry["name"]] = values.reshape(entry["shape"])
            offset += 4 * count
    model = tf_keras.models.model_from_json(json.dumps(config))
    missing = [each.name for each in model.weights if each.name.split(":")[0] not in weights]
    if missing:
        raise RefusedError(f"weights are missing: {', '.join(missing[:3])}")
    model.set_weights([weights[each.name.split(":")[0]] for each in model.weights])
    return model, layers


def write_graph(function: Any, signature: list[Any], target: Path) -> None:
    """Write the ONNX graph of a function.

    Constants that the function captured, such as those of Normalization, are inputs of tf2onnx's
    graph. They become constants again.
    """
    import onnx
    import tensorflow as tf
    import tf2onnx

    model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    captures = function.get_concrete_function(*signature).graph.captures
    constants = {inner.name: outer for outer, inner in captures if outer.dtype != tf.resource}
    graph = model.graph
    for value in [value for value in graph.input if value.name in constants]:
        values = constants[value.name].numpy()
        graph.initializer.append(onnx.numpy_helper.from_array(values, value.name))
        graph.input.remove(value)
    onnx.save(model, target)


def convert_keras(model: Any, target: Path) -> None:
    """Write the ONNX graph of a Keras model with one input."""
    import tensorflow as tf

    if len(model.inputs) != 1:
        raise RefusedError(f"it has {len(model.inputs)} inputs; a classifier has one")
    (first,) = model.inputs
    shape = [None, *tuple(first.shape)[1:]]
    signature = [tf.TensorSpec(shape, tf.as_dtype(first.dtype), name="input")]
    function = tf.function(lambda batch: model(batch, training=False), input_signature=signature)
    write_graph(function, signature, target)


def convert_saved_model(folder: Path, target: Path) -> dict[str, Any]:
    """Write the ONNX graph of the signature serving_default, or of the first one."""
    import tensorflow as tf

    content = (folder / "saved_model.pb").read_bytes()
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString(content)
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    used = sorted(
        {node.op for node in nodes} & set(UNSAFE_OPERATORS) - {"SaveV2", "MergeV2Checkpoints"}
    )
    if used:
        raise RefusedError(
            f"LAMBDA its graph has operators that run code or use files: {', '.join(used)}"
        )
    loaded = tf.saved_model.load(str(folder), tags=list(saved.meta_graphs[0].meta_info_def.tags))
    signatures = dict(loaded.signatures)
    name = "serving_default" if "serving_default" in signatures else next(iter(signatures), None)
    if name is None:
        raise RefusedError("it has no signature; save the model with model.export('folder')")
    function = signatures[name]
    arguments = list(function.structured_input_signature[1].values())
    if len(arguments) != 1:
        raise RefusedError(
            f"its signature {name} has {len(arguments)} inputs; a classifier has one"
        )
    (argument,) = arguments
    if argument.dtype == tf.string:
        raise RefusedError(
            f"its signature {name} takes encoded images; export one that takes pixels"
        )
    shape = [None, *argument.shape[1:]] if argument.shape.rank else argument.shape
    signature = [tf.TensorSpec(shape, argument.dtype, name=argument.name)]

    def call(batch: Any) -> Any:
        return function(**{argument.name: batch})

    traced = tf.function(call, input_signature=signature)
    write_graph(traced, signature, target)
    return {"dtype": argument.dtype.name}


def read_normalization(content: bytes) -> tuple[list[float], list[float]] | None:
    """Return mean and std of pixels of 0 to 255 in the metadata of a TensorFlow Lite model.

    Source: metadata_schema.fbs of https://github.com/tensorflow/tflite-support; the numbers are
    those of the fields there.
    """
    from flatbuffers import number_types
    from flatbuffers.table import Table
    from tensorflow.lite.python import schema_py_generated

    def first(table: Any, field: int) -> Any:
        offset = table.Offset(4 + 2 * field)
        if not offset or not table.VectorLen(offset):
            return None
        return Table(table.Bytes, table.Indirect(table.Vector(offset)))

    def floats(table: Any, field: int) -> list[float]:
        offset = table.Offset(4 + 2 * field)
        start = table.Vector(offset)
        count = table.VectorLen(offset)
        return [table.Get(number_types.Float32Flags, start + 4 * n) for n in range(count)]

    model = schema_py_generated.Model.GetRootAs(content, 0)
    entries = [model.Metadata(number) for number in range(model.MetadataLength())]
    found = next((each for each in entries if each.Name() == b"TFLITE_METADATA"), None)
    if found is None:
        return None
    data = bytearray(model.Buffers(found.Buffer()).DataAsNumpy().tobytes())
    table = Table(data, int.from_bytes(data[:4], "little"))
    for field in (3, 2):  # subgraph_metadata, input_tensor_metadata
        table = table and first(table, field)
    offset = table.Offset(4 + 2 * 4) if table else 0  # process_units
    for number in range(table.VectorLen(offset) if offset else 0):
        unit = Table(data, table.Indirect(table.Vector(offset) + 4 * number))
        if unit.Offset(4) and unit.Get(number_types.Uint8Flags, unit.Pos + unit.Offset(4)) == 1:
            options = Table(data, 0)
            unit.Union(options, unit.Offset(6))
            return floats(options, 0), floats(options, 1)
    return None


def convert_tflite(path: Path, target: Path) -> dict[str, Any]:
    """Write the ONNX graph of a TensorFlow Lite model; return the quantization of its input."""
    import tensorflow as tf
    from tf2onnx import convert as command

    interpreter = tf.lite.Interpreter(model_path=str(path))
    inputs = interpreter.get_input_details()
    if len(inputs) != 1:
        raise RefusedError(f"it has {len(inputs)} inputs; a classifier has one")
    scale, zero = inputs[0]["quantization"]
    facts = {
        "dtype": str(inputs[0]["dtype"].__name__),
        "shape": [int(each) for each in inputs[0]["shape"]],
        "scale": float(scale),
        "zero": int(zero),
        "normalization": read_normalization(path.read_bytes()),
    }
    options = ["--tflite", str(path), "--output", str(target), "--opset", str(OPSET)]
    # Quantized values become float ones; the operators of the exact arithmetic differ by framework.
    sys.argv = ["tf2onnx", *options, "--dequantize"]
    command.main()
    return facts


def convert(kind: str, source: Path, target: Path) -> dict[str, Any]:
    """Write the ONNX graph of a model; return facts about it."""
    if kind == "saved_model":
        return {"layers": [], "input": convert_saved_model(source, target)}
    if kind == "tflite":
        return {"layers": [], "input": convert_tflite(source, target)}
    model, layers = load_tfjs(source) if kind == "tfjs" else load_keras(source)
    convert_keras(model, target)
    return {"layers": layers, "input": {"dtype": str(model.inputs[0].dtype)}}


def main() -> None:
    """Convert what the command line names, and write the facts."""
    kind, source, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    try:
        facts = convert(kind, source, target)
    except RefusedError as error:
        facts = {"error": str(error)}
    target.with_suffix(".json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
