"""The folder of a training run: what happened in each epoch, and how the final test went.

runs/mnist-cnn/
  metrics.jsonl   one line for each epoch
  curves.png      the same as a picture
  summary.json    settings, the best epoch, the figures of the final test
  confusion.*     of the final test, as CSV and PNG
  roc.*           each digit against the others, as JSON and PNG
  reliability.png how confidence and accuracy agree
  checkpoints/    what a killed run goes on from
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

from backend.inference.preprocessing.digits import LABELS
from calibration.apply import probabilities
from evaluation import charts, metrics
from training.fit import learning_curves
from training.fit.loop import Record
from training.package.digit_models import Measured

RESULTS = (".jsonl", ".json", ".csv", ".png")


class RunError(Exception):
    """A run folder that cannot be used; the text says what to do."""


class Run:
    """Writes the run folder `folder`; a file is replaced when the new one is whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoints"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings out of the folder; raises RunError where one is in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                yield
        except Timeout as error:
            raise RunError(
                f"another training is running in {self.folder}; wait until it has ended"
            ) from error

    def record(self, history: list[Record]) -> None:
        """Write the figures of all epochs so far."""
        lines = (json.dumps(record) + "\n" for record in history)
        self._write("metrics.jsonl", "".join(lines).encode())

    def summarize(self, summary: Mapping[str, Any]) -> None:
        self._write("summary.json", (json.dumps(summary, indent=2) + "\n").encode())

    def draw_curves(self, history: list[Record]) -> None:
        self._write("curves.png", charts.png(learning_curves.curves(history)))

    def draw_test(self, measured: Measured) -> None:
        """Write confusion matrix, ROC curves and reliability of the final test, raw pixels."""
        calibration = measured.manifest.calibration
        scaled = probabilities(
            measured.outputs,
            measured.manifest.output,
            calibration.temperature if calibration else 1.0,
        )
        found = metrics.measure(LABELS, scaled, measured.test.labels.astype(np.intp))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["true / read", *LABELS])
        rows = zip(LABELS, found.confusion.tolist(), strict=True)
        writer.writerows([label, *row] for label, row in rows)
        self._write("confusion.csv", text.getvalue().encode())
        self._write("confusion.png", charts.png(charts.confusion(found.confusion, LABELS)))
        curves = [
            {"label": c.label, "auc": c.auc, "fpr": c.fpr.tolist(), "tpr": c.tpr.tolist()}
            for c in found.curves
        ]
        self._write("roc.json", (json.dumps(curves) + "\n").encode())
        self._write("roc.png", charts.png(charts.roc(found.curves, found.macro_auc)))
        self._write("reliability.png", charts.png(charts.reliability(found.reliability)))

    def results(self) -> list[Path]:
        """The files that tell how the run went, as far as they are written."""
        return sorted(path for path in self.folder.iterdir() if path.suffix in RESULTS)

    def _write(self, name: str, content: bytes) -> None:
        draft = self.folder / f".{name}.tmp"
        draft.write_bytes(content)
        draft.replace(self.folder / name)
