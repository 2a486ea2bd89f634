"""A decision tree on raw pixels, exported to ONNX: the baseline for the networks."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from sklearn.tree import DecisionTreeClassifier

from backend.inference.preprocessing.digit_crop import DigitPreprocess, normalize
from training.data.digits import NEGATIVE
from training.data.sources import TrainingSource
from training.fit.tracking import Parameters
from training.package.onnx_import import OnnxGraph, read_graph

SEED = 20
CLASSES = 10
SETTINGS: Parameters = {"criterion": "entropy", "min_samples_leaf": 10, "random_state": SEED}
SPEC = DigitPreprocess(layout="flat", mean=0, std=1)  # pixels in [0, 1]
OPSETS = {"": 18, "ai.onnx.ml": 3}


def fit_tree(sources: list[TrainingSource]) -> DecisionTreeClassifier:
    """Fit a tree to one random share of each source, without the negatives.

    Its outputs are probabilities: the shares of the ten digits in the leaf of the crop.
    """
    rng = np.random.default_rng(SEED)
    pixels, labels = [], []
    for source in sources:
        digits = np.flatnonzero(source.digits.labels != NEGATIVE)
        drawn = rng.choice(digits, round(source.share * len(digits)), replace=False)
        pixels.append(normalize(source.digits.pixels[drawn], SPEC))
        labels.append(source.digits.labels[drawn])
    tree = DecisionTreeClassifier(**SETTINGS).fit(np.concatenate(pixels), np.concatenate(labels))
    # Laplace smoothing, so that no leaf assigns a probability of zero.
    counts = tree.tree_.n_node_samples[:, np.newaxis, np.newaxis]
    tree.tree_.value[:] = (tree.tree_.value * counts + 1 / CLASSES) / (counts + 1)
    return tree


def convert_to_onnx(tree: DecisionTreeClassifier) -> OnnxGraph:
    """Return the ONNX graph: float32 (N, 784) in [0, 1] to probabilities (N, 10)."""
    from skl2onnx import to_onnx  # the import takes 2 s

    example = np.zeros((1, *SPEC.input_shape), dtype=np.float32)
    model = to_onnx(tree, example, options={"zipmap": False}, target_opset=OPSETS)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tree.onnx"
        onnx.save(model, path)
        return read_graph(path)
