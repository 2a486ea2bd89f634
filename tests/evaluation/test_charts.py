"""Charts are pictures that open, whatever the labels are called."""

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from evaluation import charts
from evaluation.metrics import Metrics, measure
from evaluation.text import printable

HOSTILE = ("$\\frac{", "<b>&", "owl")


@pytest.fixture
def metrics() -> Metrics:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    noisy = np.eye(3)[truth] + rng.random((200, 3))
    return measure(HOSTILE, (noisy / noisy.sum(1, keepdims=True)).astype(np.float32), truth)


def drawn(metrics: Metrics) -> list[Figure]:
    return [
        charts.roc(metrics.curves, metrics.macro_auc),
        charts.reliability(metrics.reliability),
        charts.confusion(metrics.confusion, metrics.labels),
    ]


def test_every_chart_is_an_svg_with_text_and_a_png(metrics: Metrics) -> None:
    for figure in drawn(metrics):
        root = ElementTree.fromstring(charts.svg(figure))
        assert root.tag.endswith("svg")
        assert root.findall(".//{http://www.w3.org/2000/svg}text")
        with Image.open(io.BytesIO(charts.png(figure))) as image:
            image.load()
            assert image.format == "PNG"


def test_labels_are_written_as_they_are(metrics: Metrics) -> None:
    text = charts.svg(charts.roc(metrics.curves, metrics.macro_auc))
    words = "".join(ElementTree.fromstring(text).itertext())
    assert "$\\frac{ (" in words
    assert "<b>& (" in words


def test_the_ink_fits_the_page_and_there_is_no_paper(metrics: Metrics) -> None:
    for figure in drawn(metrics)[:2]:
        dark = charts.svg(figure, ink="#fedcba")
        assert "#fedcba" in dark
        assert charts.INK not in dark
        assert 'id="legend' in dark
        assert "fill: #ffffff" not in dark


def test_only_the_curves_with_the_smallest_areas_are_drawn(metrics: Metrics) -> None:
    many = tuple(metrics.curves) * 5
    axes = charts.roc(many, metrics.macro_auc).axes[0]
    assert len(axes.lines) == charts.DRAWN_CURVES + 2  # their mean, and the diagonal


def test_a_large_matrix_is_drawn_without_numbers() -> None:
    figure = charts.confusion(np.eye(200, dtype=np.intp), [str(n) for n in range(200)])
    assert len(figure.axes[0].texts) == 0
    assert charts.png(figure)


def test_data_of_one_class_leaves_the_roc_empty() -> None:
    found = measure(("a", "b"), np.array([[1, 0]], np.float32), np.array([0]))
    assert charts.svg(charts.roc(found.curves, found.macro_auc))
    assert charts.svg(charts.reliability(found.reliability))


@pytest.mark.parametrize("label", ["a\x01b", "a\uffffb", "a\udcffb"])
def test_a_label_that_xml_cannot_hold_is_drawn_escaped(label: str) -> None:
    labels = (label, "dog")
    found = measure(labels, np.array([[0.9, 0.1], [0.2, 0.8]], np.float32), np.array([0, 1]))
    for figure in (
        charts.roc(found.curves, found.macro_auc),
        charts.confusion(found.confusion, found.labels),
    ):
        words = "".join(ElementTree.fromstring(charts.svg(figure)).itertext())
        assert printable(label) in words
