"""A decision tree on the pixels, as ONNX: what a network is worth is the distance to it."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from sklearn.tree import DecisionTreeClassifier

from backend.inference.preprocessing.digits import DigitPreprocess, normalize
from training.data.digits import NOTHING
from training.data.sources import Source
from training.package.onnx_import import Graph, read_graph

SEED = 20
CLASSES = 10
SETTINGS: Mapping[str, str | int] = {
    "criterion": "entropy",
    "min_samples_leaf": 10,
    "random_state": SEED,
}
SPEC = DigitPreprocess(layout="flat", mean=0, std=1)  # pixels in [0, 1]
OPSETS = {"": 18, "ai.onnx.ml": 3}


def grow(sources: list[Source]) -> DecisionTreeClassifier:
    """Fit a tree to each source's share, drawn once; it has no output for fields without a digit.

    It gives probabilities: the shares of the ten digits in the leaf that a field falls into.
    """
    rng = np.random.default_rng(SEED)
    pixels, labels = [], []
    for source in sources:
        digits = np.flatnonzero(source.digits.labels != NOTHING)
        drawn = rng.choice(digits, round(source.share * len(digits)), replace=False)
        pixels.append(normalize(source.digits.pixels[drawn], SPEC))
        labels.append(source.digits.labels[drawn])
    tree = DecisionTreeClassifier(**SETTINGS).fit(np.concatenate(pixels), np.concatenate(labels))
    # No leaf may call a digit impossible: one more of them is spread over all (Laplace).
    counts = tree.tree_.n_node_samples[:, np.newaxis, np.newaxis]
    tree.tree_.value[:] = (tree.tree_.value * counts + 1 / CLASSES) / (counts + 1)
    return tree


def to_graph(tree: DecisionTreeClassifier) -> Graph:
    """The tree as ONNX: fields (N, 784), float32 in [0, 1], to probabilities (N, 10)."""
    from skl2onnx import to_onnx  # takes two seconds

    example = np.zeros((1, *SPEC.input_shape), dtype=np.float32)
    model = to_onnx(tree, example, options={"zipmap": False}, target_opset=OPSETS)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tree.onnx"
        onnx.save(model, path)
        return read_graph(path)
