"""What was measured as files to take away. No Streamlit in here."""

import json
import tempfile
from pathlib import Path

from evaluation import charts, html
from evaluation.document import document
from evaluation.metrics import Metrics
from evaluation.records import write_records
from evaluation.results import Evaluation


def predictions_csv(evaluation: Evaluation) -> bytes:
    """One line for each picture."""
    with tempfile.TemporaryDirectory(prefix="prism-") as folder:
        path = Path(folder) / "predictions.csv"
        write_records(path, evaluation.records)
        return path.read_bytes()


def report_json(evaluation: Evaluation) -> bytes:
    """Every figure."""
    text = json.dumps(document(evaluation), allow_nan=False, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def report_html(evaluation: Evaluation) -> bytes:
    """A page that opens alone."""
    return html.render(evaluation).encode("utf-8", "backslashreplace")


def confusion_png(metrics: Metrics) -> bytes:
    """The confusion matrix as a picture."""
    return charts.png(charts.confusion(metrics.confusion, metrics.labels))


def confusion_svg(metrics: Metrics) -> bytes:
    """The confusion matrix as a drawing."""
    return charts.svg(charts.confusion(metrics.confusion, metrics.labels)).encode()
