"""What was measured of a model, in words. No Streamlit in here."""

import re
from collections.abc import Iterator, Mapping

from client import Calibration, InputSpec, ModelInfo
from frontend.ui import formatting

# What the figures of the models made here mean; others are shown under the names they have.
_SHARES = {
    "test_accuracy": "Right on its test set",
    "test_accuracy_pictures": "Right on its test set, as pictures",
    "test_top5_accuracy": "Right label among the first five",
    "test_ece": "Its percentages are off by, on average",
    "test_refused": "Of its test set taken for something else",
    "nothing_refused": "Of pictures without any of its classes told as such",
}
_PLAIN = {
    "nothing_auroc": "Telling those from its test set (AUROC)",
    "onnx_parity": "Largest difference between its two runtimes",
}
USUAL_COVERAGE = 0.95
_OF_SETS = re.compile(r"test_(coverage|set_size)_(\d+)")


def rows(metrics: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Yield (what, figure) for a table, in the order in which the model has them."""
    for name, value in metrics.items():
        if found := _OF_SETS.fullmatch(name):
            kind, level = found.groups()
            if kind == "coverage":
                yield f"Sets of {level} % that hold the right label", _share(value)
            else:
                yield f"Labels in a set of {level} %, on average", f"{value:.2f}"
        elif name in _SHARES and 0 <= value <= 1:
            yield _SHARES[name], _share(value)
        else:
            yield _PLAIN.get(name, name), f"{value:.4g}"


def headline(model: ModelInfo) -> Iterator[tuple[str, str]]:
    """Yield the few figures that a person looks for first."""
    if (accuracy := model.metrics.get("test_accuracy")) is not None:
        yield "Accuracy", _share(accuracy)
    if (error := model.metrics.get("test_ece")) is not None:
        yield "Calibration error", _share(error)
    if model.calibration:
        for coverage, size in model.calibration.mean_set_size.items():
            if coverage == USUAL_COVERAGE:
                yield f"Labels in a set of {formatting.level(coverage)}", f"{size:.2f}"


def calibrated(calibration: Calibration) -> str:
    """Say on what the percentages were made honest."""
    pictures = formatting.count(calibration.pictures, "picture", "pictures")
    source = f": {calibration.source}" if calibration.source else ""
    return f"Its percentages were calibrated on {pictures}{source}."


def takes(spec: InputSpec) -> str:
    """Say what a model is given of a picture."""
    what = "The digit found in the picture" if spec.kind == "digit" else "The picture"
    return f"{what}, as {' x '.join(map(str, spec.shape))} numbers" if spec.shape else what


def card(text: str) -> str:
    """Make a model card fit into a page: no pictures from elsewhere, headings below the page's."""
    without_pictures = text.replace("![", "&#33;[")
    return re.sub(
        r"(?m)^#{1,6}(?= )", lambda found: "#" * min(6, len(found[0]) + 3), without_pictures
    )


def _share(value: float) -> str:
    return f"{100 * value:.2f} %"
