"""The Monitor page without a browser."""

import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.client.fake_server import FakeResponse, serving
from tests.frontend.app import models_response, page_text
from tests.frontend.conftest import OpenPage

MONITOR = "views/monitor/page.py"
EMPTY: dict[str, Any] = {
    "model": "digits",
    "version": "2",
    "alert": False,
    "threshold": 2.32,
    "images": 0,
    "reference_images": 0,
    "coverage": 0.95,
    "statistics": [],
    "labels": [],
    "days": [],
}
DAY: dict[str, Any] = {
    "day": "2026-05-04",
    "images": 900,
    "confidence": 0.71,
    "set_size": 1.5,
    "out_of_distribution": 0.2,
    "brightness": 0.4,
    "pixels": 2e6,
    "labels": [{"label": "0", "images": 900}],
    "confirmed": 9,
    "corrected": 1,
    "accuracy": 0.9,
    "accuracy_low": 0.6,
    "accuracy_high": 0.98,
}


def statistic(name: str, **fields: Any) -> dict[str, Any]:
    """Return a statistic without an alert."""
    default = {"images": 900, "value": 0.5, "reference": 0.5, "calibration": None}
    return {"name": name, "evidence": -1.0, "alert": False, "since": None} | default | fields


def open_monitor(
    start: OpenPage, report: dict[str, Any], **query: str
) -> tuple[AppTest, list[str]]:
    """Return the page, and the paths of its requests."""
    history = FakeResponse(json.dumps(report).encode())
    served = models_response(digits="digit", cats="image")
    with serving(served, history=history) as (url, requests):
        app = start(url, **query).switch_page(MONITOR).run()
        return app, [one.path for one in requests if one.path.startswith("/history")]


def test_alert_is_explained_in_words(start: OpenPage) -> None:
    confidence = statistic(
        "confidence",
        value=0.71,
        reference=0.84,
        calibration=0.9,
        evidence=5.0,
        alert=True,
        since="2026-05-04T10:20:00Z",
    )
    report = EMPTY | {
        "alert": True,
        "images": 900,
        "reference_images": 500,
        "statistics": [confidence, statistic("set_size", value=1.5, reference=1.5)],
        "days": [DAY],
    }
    app, paths = open_monitor(start, report)
    (warning,) = app.warning
    text = warning.value.replace("\\", "")
    assert "digits, version 2 have changed" in text
    assert "**Confidence** is lower: 71% on average over the last 500 images" in text
    assert "84% in the reference, 90% on the test images of the model" in text
    assert "Found on 04 May 2026, 10:20" in text
    assert "Prediction set size" not in text
    assert len(app.get("vega_lite_chart")) == 2
    assert paths[0].startswith("/history/drift?model=digits&")


def test_change_that_does_not_move_the_mean_has_no_direction(start: OpenPage) -> None:
    same = {"alert": True, "evidence": 5.0, "value": 784.2, "reference": 784}
    brightness = {"alert": True, "evidence": 5.0, "value": 0.119, "reference": 0.122}
    report = EMPTY | {
        "alert": True,
        "images": 900,
        "reference_images": 500,
        "statistics": [statistic("pixels", **same), statistic("brightness", **brightness)],
        "days": [DAY],
    }
    app, _ = open_monitor(start, report)
    text = app.warning[0].value.replace("\\", "")
    assert "**Image size** is distributed differently: 784 pixels on average" in text
    assert "**Brightness** is lower: 11.9% on average over the last 500 images, 12.2%" in text


def test_unchanged_model_is_reported(start: OpenPage) -> None:
    labels = statistic("labels", value=0.02, reference=None)
    errors = statistic("error_rate", value=0.1, reference=0.1)
    report = EMPTY | {
        "images": 900,
        "reference_images": 500,
        "statistics": [labels, errors],
        "labels": [{"label": "0", "value": 0.4, "reference": 0.38}],
        "days": [DAY, DAY | {"day": "2026-05-03", "accuracy": None, "accuracy_low": None}],
    }
    app, _ = open_monitor(start, report)
    assert not app.warning
    assert "No change of digits, version 2 found." in app.success[0].value.replace("\\", "")
    text = page_text(app)
    assert "2.0% of the last 500 images have another label" in text
    assert "10% of the last 100 reviewed answers" in text
    assert len(app.get("vega_lite_chart")) == 2


def test_too_few_images_are_explained(start: OpenPage) -> None:
    waiting = statistic("confidence", images=40, value=None, reference=None, evidence=None)
    answers = statistic("error_rate", images=3, value=None, reference=None, evidence=None)
    report = EMPTY | {"images": 40, "reference_images": 40, "statistics": [waiting, answers]}
    app, _ = open_monitor(start, report)
    text = page_text(app)
    assert "40 images of digits, version 2 so far. The first 500 are the reference" in text
    assert "Compared after 500 images; 40 images so far." in text
    assert "Compared after 100 answers with feedback; 3 answers have feedback so far." in text


def test_model_without_classifications_is_explained(start: OpenPage) -> None:
    app, _ = open_monitor(start, EMPTY)
    text = page_text(app).replace("\\", "")
    assert "No classifications of digits, version 2 are stored." in text


def test_model_is_chosen_by_the_url(start: OpenPage) -> None:
    app, paths = open_monitor(start, EMPTY, monitored="cats")
    assert not app.exception
    assert paths[0].startswith("/history/drift?model=cats&")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "history_off", "The history is turned off on this backend."),
        (404, "unknown_classification", "This backend does not compare images yet."),
        (404, "not_found", "This backend does not compare images yet."),
        (401, "key_missing", "The frontend does not have access to the backend's history."),
        (503, "history_unavailable", "The backend cannot reach its history database."),
    ],
)
def test_missing_drift_is_explained(start: OpenPage, status: int, code: str, message: str) -> None:
    error = {"code": code, "title": "x", "status": status, "detail": "x"}
    history = FakeResponse(json.dumps(error).encode(), status=status)
    with serving(models_response(digits="digit"), history=history) as (url, _):
        app = start(url).switch_page(MONITOR).run()
    assert message in app.error[0].value.replace("\\", "")
