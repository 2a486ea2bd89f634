"""Makes an ONNX graph refer to the tensors of a safetensors file, so that weights are stored once.

The result is standard ONNX with external data: `onnxruntime.InferenceSession(path)` loads it if
both files are in the same folder. Tensors in float16 pass through a Cast node. ONNX Runtime
evaluates these nodes once, when it loads the graph, so inference is that of a float32 graph.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

_LENGTH_BYTES = 8  # of a safetensors header, at the start of the file
_DTYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float16): TensorProto.FLOAT16}


def share(graph: Path, weights: Path) -> None:
    """Replace the float32 tensors of `graph` that `weights` contains by references.

    Both files must be in the same folder. Tensors are matched by their values, in float32, because
    exporters rename them. Tensors without a match stay in the graph.
    """
    tensors = load_file(weights)
    names = {_key(tensor.astype(np.float32)): name for name, tensor in tensors.items()}
    ranges = _read_ranges(weights)
    model = onnx.load(graph)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        name = names.get(_key(numpy_helper.to_array(tensor)))
        if name is None:
            continue
        start, end = ranges[name]
        dtype = _DTYPES[tensors[name].dtype]
        if dtype != TensorProto.FLOAT:
            stored = f"{tensor.name}.stored"
            casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
            tensor.name = stored
        reference = {"location": weights.name, "offset": start, "length": end - start}
        shared = TensorProto(
            name=tensor.name,
            dims=tensor.dims,
            data_type=dtype,
            data_location=TensorProto.EXTERNAL,
            external_data=[{"key": key, "value": str(value)} for key, value in reference.items()],
        )
        tensor.CopyFrom(shared)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    graph.write_bytes(model.SerializeToString())


def _key(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> tuple[object, ...]:
    return values.shape, values.tobytes()


def _read_ranges(path: Path) -> dict[str, tuple[int, int]]:
    """Return the first byte and the end of each tensor in a safetensors file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
    first = _LENGTH_BYTES + length
    return {
        name: (first + entry["data_offsets"][0], first + entry["data_offsets"][1])
        for name, entry in header.items()
        if name != "__metadata__"
    }
