"""Adds the pooled features to ONNX graphs, from which the heads of taught models classify.

To add them to a model folder that was packaged without them:
python -m training.package.features models/photos
"""

import argparse
from pathlib import Path

import onnx
from onnx import ModelProto, helper

from backend.inference.models import artifact
from backend.inference.runtimes.onnx_runtime import FEATURES
from training.package.activation_map import find_pooled_head


def add_features(model: ModelProto) -> bool:
    """Add the output `features` (N, D), the input of the last layer, to a graph.

    Return False, and leave the graph unchanged, if it has this output, or if the network does not
    end in global pooling and one linear layer. Weights outside of the file are not needed.
    """
    graph = model.graph
    fixed = (*graph.input, *graph.initializer, *graph.output)
    if any(each.name == FEATURES for each in fixed):
        return False
    head = find_pooled_head(model)
    if head is None or head.linear is None:
        return False
    inner = f"{FEATURES}.inner"  # for a tensor that the network already calls so
    for node in graph.node:
        node.input[:] = [inner if name == FEATURES else name for name in node.input]
        node.output[:] = [inner if name == FEATURES else name for name in node.output]
    for info in graph.value_info:
        info.name = inner if info.name == FEATURES else info.name
    source = inner if head.linear.input == FEATURES else head.linear.input
    graph.node.append(helper.make_node("Identity", [source], [FEATURES]))
    kind = graph.output[0].type.tensor_type.elem_type
    graph.output.append(helper.make_tensor_value_info(FEATURES, kind, [None, None]))
    return True


def main() -> None:
    """Add the output to the graph of a model folder, whose weights stay as they are."""
    parser = argparse.ArgumentParser(prog="training.package.features", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="model folder with a model.onnx")
    folder: Path = parser.parse_args().folder
    model = artifact.read(folder)
    if model.onnx is None:
        parser.error(f"{folder} has no {artifact.ONNX}")
    graph = onnx.load(model.onnx, load_external_data=False)
    if not add_features(graph):
        parser.error(
            f"{folder}: the network has this output, or does not end in global pooling and one "
            "linear layer"
        )
    onnx.save(graph, model.onnx)
    onnx.checker.check_model(model.onnx)
    artifact.write_manifest(folder, model.manifest)
    print(f"{model.onnx}: added the output {FEATURES}")


if __name__ == "__main__":
    main()
