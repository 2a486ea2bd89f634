"""A model as a person names it: a folder's name, a path, or a URL."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaluation.predictors.local import LocalPredictor, find_model
from evaluation.predictors.served import ServedPredictor
from evaluation.types import Predictor


@dataclass(frozen=True, slots=True)
class Wiring:
    """How models are reached, whichever they are."""

    models_dir: Path
    coverage: float
    stop: threading.Event


@contextmanager
def open_model(address: str, wiring: Wiring) -> Iterator[Predictor]:
    """Open the model at `address`: `mnist-cnn`, `./my-model`, `http://localhost:8000#mnist-cnn`.

    Raises PredictorError where it is not there.
    """
    if "://" in address:
        url, _, model = address.partition("#")
        with ServedPredictor(
            url, model or None, coverage=wiring.coverage, stop=wiring.stop
        ) as served:
            yield served
    else:
        folder = find_model(address, wiring.models_dir)
        with LocalPredictor(folder, coverage=wiring.coverage) as local:
            yield local
