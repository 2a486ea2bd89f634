"""Measures any image classifier, local or served, on labelled pictures.

from evaluation.evaluate import evaluate
from evaluation.predictors.local import LocalPredictor
from evaluation.sources import open_source

with open_source(Path("digits.zip")) as source, LocalPredictor(Path("models/mnist-cnn")) as model:
    evaluation = evaluate(source.samples(), model)
print(evaluation.metrics.accuracy)
"""
