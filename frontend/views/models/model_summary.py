"""The metrics, input and model card of a model as text. Imports no Streamlit."""

import re
from collections.abc import Iterator, Mapping

from client import Calibration, InputSpec, ModelInfo
from frontend.ui import formatting
from frontend.ui.formatting import coverage_percent

DEFAULT_COVERAGE = 0.95
# Names of the metrics that this project's training measures; others keep their own name.
_SHARES = {
    "test_accuracy": "Test accuracy",
    "test_accuracy_pictures": "Test accuracy with image preprocessing",
    "test_top5_accuracy": "Top-5 test accuracy",
    "test_ece": "Expected calibration error",
    "test_refused": "Test images classified as out of distribution",
    "nothing_refused": "Other images classified as out of distribution",
}
_NUMBERS = {
    "nothing_auroc": "AUROC of test images against other images",
    "onnx_parity": "Largest difference between runtimes",
}
_OUTLIER_METRIC = re.compile(r"nothing_(auroc|refused)_(\w+)")
_PREDICTION_SET_METRIC = re.compile(r"test_(coverage|set_size)_(\d+)")


def metric_rows(metrics: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Yield (name, value) for a table, in the order of `metrics`."""
    for name, value in metrics.items():
        if match := _PREDICTION_SET_METRIC.fullmatch(name):
            kind, coverage = match.groups()
            if kind == "coverage":
                yield f"Measured coverage of {coverage}% prediction sets", _percent(value)
            else:
                yield f"Mean size of {coverage}% prediction sets", f"{value:.2f}"
        elif match := _OUTLIER_METRIC.fullmatch(name):
            kind, images = match.groups()
            if kind == "auroc":
                yield f"AUROC of test images against {images}", f"{value:.3f}"
            else:
                yield f"{images.capitalize()} classified as out of distribution", _percent(value)
        elif name in _SHARES and 0 <= value <= 1:
            yield _SHARES[name], _percent(value)
        else:
            yield _NUMBERS.get(name, name), f"{value:.4g}"


def key_metrics(model: ModelInfo) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of the most important metrics."""
    if (accuracy := model.metrics.get("test_accuracy")) is not None:
        yield "Accuracy", _percent(accuracy)
    if (error := model.metrics.get("test_ece")) is not None:
        yield "Expected calibration error", _percent(error)
    if model.calibration:
        for coverage, size in model.calibration.mean_set_size.items():
            if coverage == DEFAULT_COVERAGE:
                yield f"Labels at {coverage_percent(coverage)} coverage", f"{size:.2f}"


def calibration_text(calibration: Calibration) -> str:
    """Return the number and the source of the calibration images."""
    images = formatting.count(calibration.images, "image", "images")
    source = f": {calibration.source}" if calibration.source else ""
    return f"Calibrated on {images}{source}."


def runtime_text(model: ModelInfo) -> str | None:
    """Return the runtime of a loaded model, with its precision if it is not the usual fp32."""
    if not model.runtime:
        return None
    is_quantized = model.precision not in (None, "fp32")
    return f"Runtime: {model.runtime}" + (f" ({model.precision})" if is_quantized else "")


def input_text(spec: InputSpec) -> str:
    """Return the input and its shape."""
    content = "the digit found in the image" if spec.kind == "digit" else "the image"
    shape = f" ({' × '.join(map(str, spec.shape))})" if spec.shape else ""
    return f"Input: {content}{shape}"


def card_markdown(text: str) -> str:
    """Return a model card without external images, its headings below those of the page."""
    without_images = text.replace("![", "&#33;[")
    return re.sub(
        r"(?m)^#{1,6}(?= )", lambda match: "#" * min(6, len(match[0]) + 3), without_images
    )


def _percent(value: float) -> str:
    return f"{100 * value:.2f}%"
