"""The folder of a training run: the metrics of each epoch and the results of the final test.

runs/mnist-cnn/
  metrics.jsonl   one line per epoch
  curves.png      the learning curves
  summary.json    settings, the best epoch, metrics of the final test
  confusion.*     confusion matrix of the final test, as CSV and PNG
  roc.*           one-vs-rest ROC curves, as JSON and PNG
  reliability.png reliability diagram: accuracy by confidence
  checkpoints/    from which a killed run resumes
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from matplotlib.figure import Figure

from backend.inference.preprocessing.digit_crop import LABELS
from calibration.apply import probabilities
from evaluation import charts, metrics
from training.fit.loop import EpochMetrics
from training.package.digit_models import MeasuredModel

RESULT_SUFFIXES = (".jsonl", ".json", ".csv", ".png")


class RunError(Exception):
    """The run folder cannot be used; the message says what to do."""


class RunFolder:
    """Writes the files of a run to `folder`. Each file is replaced atomically."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoints"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder; raise RunError if another training process holds the lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                yield
        except Timeout as error:
            message = f"another training run uses {self.folder}; wait until it has ended"
            raise RunError(message) from error

    def write_history(self, history: list[EpochMetrics]) -> None:
        """Write the metrics of all epochs so far."""
        lines = (json.dumps(epoch) + "\n" for epoch in history)
        self._write("metrics.jsonl", "".join(lines).encode())

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        self._write("summary.json", (json.dumps(summary, indent=2) + "\n").encode())

    def write_learning_curves(self, history: list[EpochMetrics]) -> None:
        self._write("curves.png", charts.to_png(draw_learning_curves(history)))

    def write_test_results(self, measured: MeasuredModel) -> None:
        """Write confusion matrix, ROC curves and reliability diagram of the raw test crops."""
        calibration = measured.manifest.calibration
        temperature = calibration.temperature if calibration else 1.0
        scaled = probabilities(measured.outputs, measured.manifest.output, temperature)
        results = metrics.measure(LABELS, scaled, measured.test.labels.astype(np.intp))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["true / read", *LABELS])
        rows = zip(LABELS, results.confusion.tolist(), strict=True)
        writer.writerows([label, *row] for label, row in rows)
        self._write("confusion.csv", text.getvalue().encode())
        confusion = charts.plot_confusion(results.confusion, LABELS)
        self._write("confusion.png", charts.to_png(confusion))
        curves = [
            {"label": c.label, "auc": c.auc, "fpr": c.fpr.tolist(), "tpr": c.tpr.tolist()}
            for c in results.curves
        ]
        self._write("roc.json", (json.dumps(curves) + "\n").encode())
        self._write("roc.png", charts.to_png(charts.plot_roc(results.curves, results.macro_auc)))
        self._write("reliability.png", charts.to_png(charts.plot_reliability(results.reliability)))

    def result_files(self) -> list[Path]:
        """Return the result files that exist, sorted."""
        return sorted(path for path in self.folder.iterdir() if path.suffix in RESULT_SUFFIXES)

    def _write(self, name: str, content: bytes) -> None:
        draft = self.folder / f".{name}.tmp"
        draft.write_bytes(content)
        draft.replace(self.folder / name)


def draw_learning_curves(history: list[EpochMetrics]) -> Figure:
    """Draw loss, error rate and learning rate by epoch."""
    epochs = [epoch["epoch"] for epoch in history]
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    loss, error, rate = figure.subplots(1, 3)
    for name, label in (("loss", "training, smoothed labels"), ("validation_loss", "validation")):
        loss.plot(epochs, [epoch[name] for epoch in history], marker=".", label=label)
    loss.legend()
    for name in (name for name in history[0] if name.startswith("accuracy_")):
        label = name.removeprefix("accuracy_").replace("_", " ")
        error.plot(epochs, [1 - epoch[name] for epoch in history], marker=".", label=label)
    error.legend()
    rate.plot(epochs, [epoch["rate"] for epoch in history], marker=".")
    for axes, title in ((loss, "loss"), (error, "error rate"), (rate, "learning rate")):
        axes.set(title=title, xlabel="epoch", yscale="log")
    return figure
