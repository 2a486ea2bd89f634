"""The alert rules and the dashboard use metrics and labels that a backend exposes."""

import re
from math import ceil
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from backend.history.drift import STATISTICS, THRESHOLD, Drift, Statistic
from backend.inference.runtimes.fake_runtime import FakeRuntime
from backend.telemetry.metrics import Metrics
from tests.conftest import ROOT
from tests.deploy.queries import alerts, grouped, panels, selectors
from tests.fake_models import serve, write_model
from tests.images import encoded, seven

SCRAPED = {"job", "instance"}  # labels that Prometheus adds
EXPRESSIONS = [*alerts().values(), *(each for panel in panels().values() for each in panel)]
RUNBOOK = ROOT / "docs" / "operations.md"


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return the labels of each sample that a backend exposes after some requests."""
    folder: Path = tmp_path_factory.mktemp("models")
    write_model(folder)
    with serve(folder, FakeRuntime(10)) as client:
        client.post("/classify", files={"file": encoded(seven())})
        client.post("/classify", files={"file": b"no image"})
        text = client.get("/metrics").text
    drift = Metrics()
    drift.set_drift("cat", Drift(1, 1, None, (Statistic("pixels", 1, 2.0, 3.0, 4.0),), ()))
    samples = [
        sample
        for source in (text, drift.expose()[0].decode())
        for family in text_string_to_metric_families(source)
        for sample in family.samples
    ]
    return (
        {"up": set()}
        | {one.name: set(one.labels) for one in samples if one.labels}
        | {one.name: set() for one in samples if not one.labels}
    )


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_query_uses_exposed_metrics_and_labels(
    expression: str, exposed: dict[str, set[str]]
) -> None:
    read = selectors(expression)
    assert read
    for name, labels in read:
        # A Metrics without images has no samples with labels for its counters.
        assert name in exposed, name
        assert labels <= exposed[name] | SCRAPED
        assert grouped(expression) <= exposed[name] | SCRAPED


def test_statistics_and_threshold_are_those_of_the_drift_tests() -> None:
    for expression in alerts().values():
        assert set(re.findall(r'statistic="(\w+)"', expression)) <= set(STATISTICS)
    threshold = float(alerts()["PrismModelErrors"].split(">=")[1])
    assert threshold == ceil(THRESHOLD * 10_000) / 10_000


def test_dashboard_shows_queue_latency_refusals_drift_and_versions() -> None:
    read = {name for panel in panels().values() for each in panel for name, _ in selectors(each)}
    assert {
        "prism_queue_depth", "prism_request_seconds_bucket", "prism_images_shed_total",
        "prism_drift_alert", "prism_model_info",
    } <= read  # fmt: skip


def test_every_alert_is_rehearsed_and_in_the_runbook() -> None:
    cases = yaml.safe_load((ROOT / "tests" / "deploy" / "alerts_test.yaml").read_text())["tests"]
    raised = {
        test["alertname"] for case in cases for test in case["alert_rule_test"]
        if test.get("exp_alerts")
    }  # fmt: skip
    assert raised == set(alerts())
    headings = set(re.findall(r"^### (\w+)$", RUNBOOK.read_text(), re.M))
    assert set(alerts()) <= headings
    rules = (ROOT / "deploy" / "prometheus_alerts.yaml").read_text()
    assert {f"#{name.lower()}" for name in alerts()} == set(re.findall(r"#prism\w+", rules))


def test_runbook_names_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", RUNBOOK.read_text())
    assert named
    for file, function in named:
        text = (ROOT / file).read_text()
        assert f"def {function}(" in text if function else text, f"{file}::{function}"
