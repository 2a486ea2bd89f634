"""A tiny ONNX network that ends in global pooling and a linear layer."""

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

LABELS = ("other", "red", "green")
WEIGHTS = np.array([[0, 0, 0], [9, -9, 0], [-9, 9, 0]], dtype=np.float32)  # labels x RGB
NODE = helper.make_node


def gemm(trans_b: int = 1) -> list[NodeProto]:
    return [NODE("Gemm", ["flat", "w" if trans_b else "w_t"], ["scores"], transB=trans_b)]


def matmul_add() -> list[NodeProto]:
    return [NODE("MatMul", ["flat", "w_t"], ["sum"]), NODE("Add", ["sum", "bias"], ["scores"])]


def make_network(
    pooling: list[NodeProto] | None = None,
    linear: list[NodeProto] | None = None,
    *,
    opset: int = 18,
    output: str = "scores",
) -> ModelProto:
    """Return a network (N, 3, H, W) -> scores (N, 3) whose features are the colors of 4x4 blocks.

    By default it ends in global average pooling, Flatten and Gemm.
    """
    pooling = pooling or [
        NODE("GlobalAveragePool", ["features"], ["pooled"]),
        NODE("Flatten", ["pooled"], ["flat"]),
    ]
    nodes = [
        NODE("AveragePool", ["input"], ["blocks"], kernel_shape=[4, 4], strides=[4, 4]),
        NODE("Relu", ["blocks"], ["features"]),
        *pooling,
        *(gemm() if linear is None else linear),
    ]
    tensors = {
        "w": WEIGHTS,
        "w_t": np.ascontiguousarray(WEIGHTS.T),
        "bias": np.zeros(3, dtype=np.float32),
        "axes": np.array([-1, 2]),
        "axis_h": np.array([2]),
    }
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)
