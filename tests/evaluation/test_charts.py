"""Tests of charts, also with labels that break markup."""

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from evaluation import charts
from evaluation.escaping import escape_unprintable
from evaluation.metrics import Metrics, measure, reliability

HOSTILE = ("$\\frac{", "<b>&", "owl")


@pytest.fixture
def metrics() -> Metrics:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    noisy = np.eye(3)[truth] + rng.random((200, 3))
    return measure(HOSTILE, (noisy / noisy.sum(1, keepdims=True)).astype(np.float32), truth)


def plot_all(metrics: Metrics) -> list[Figure]:
    return [
        charts.plot_roc(metrics.curves, metrics.macro_auc),
        charts.plot_reliability(metrics.reliability),
        charts.plot_confusion(metrics.confusion, metrics.labels),
    ]


def test_charts_are_valid_svg_with_text_and_valid_png(metrics: Metrics) -> None:
    for figure in plot_all(metrics):
        root = ElementTree.fromstring(charts.to_svg(figure))
        assert root.tag.endswith("svg")
        assert root.findall(".//{http://www.w3.org/2000/svg}text")
        with Image.open(io.BytesIO(charts.to_png(figure))) as image:
            image.load()
            assert image.format == "PNG"


def test_labels_are_not_parsed_as_markup(metrics: Metrics) -> None:
    svg = charts.to_svg(charts.plot_roc(metrics.curves, metrics.macro_auc))
    text = "".join(ElementTree.fromstring(svg).itertext())
    assert "$\\frac{ (" in text
    assert "<b>& (" in text


def test_svg_uses_the_text_color_and_has_no_background(metrics: Metrics) -> None:
    for figure in plot_all(metrics)[:2]:
        dark = charts.to_svg(figure, text_color="#fedcba")
        assert "#fedcba" in dark
        assert charts.TEXT_COLOR not in dark
        assert 'id="legend' in dark
        assert "fill: #ffffff" not in dark


def test_number_of_curves_is_limited(metrics: Metrics) -> None:
    many = tuple(metrics.curves) * 5
    axes = charts.plot_roc(many, metrics.macro_auc).axes[0]
    assert len(axes.lines) == charts.MAX_CURVES + 2  # the mean and the diagonal


def test_reliability_bins_with_few_images_are_hollow_and_not_joined() -> None:
    confidence = np.repeat(np.array([0.1, 0.3, 0.5]), [20, 3, 20]).astype(np.float32)
    figure = charts.plot_reliability(reliability(confidence, np.ones(43, bool)))
    assert [np.size(line.get_xdata()) for line in figure.axes[0].lines] == [2, 1, 1]
    full, hollow = figure.axes[0].collections
    assert (np.shape(full.get_offsets())[0], np.shape(hollow.get_offsets())[0]) == (2, 1)
    assert np.size(hollow.get_facecolor()) == 0


def test_large_matrix_has_no_numbers() -> None:
    figure = charts.plot_confusion(np.eye(200, dtype=np.intp), [str(n) for n in range(200)])
    assert len(figure.axes[0].texts) == 0
    assert charts.to_png(figure)


def test_single_class_has_an_empty_roc_chart() -> None:
    metrics = measure(("a", "b"), np.array([[1, 0]], np.float32), np.array([0]))
    assert charts.to_svg(charts.plot_roc(metrics.curves, metrics.macro_auc))
    assert charts.to_svg(charts.plot_reliability(metrics.reliability))


@pytest.mark.parametrize("label", ["a\x01b", "a\uffffb", "a\udcffb"])
def test_label_that_xml_forbids_is_escaped(label: str) -> None:
    labels = (label, "dog")
    metrics = measure(labels, np.array([[0.9, 0.1], [0.2, 0.8]], np.float32), np.array([0, 1]))
    for figure in (
        charts.plot_roc(metrics.curves, metrics.macro_auc),
        charts.plot_confusion(metrics.confusion, metrics.labels),
    ):
        text = "".join(ElementTree.fromstring(charts.to_svg(figure)).itertext())
        assert escape_unprintable(label) in text
