"""The example alert rules use gauges that exist, and the threshold of the tests."""

import re
from math import ceil

import yaml
from prometheus_client.parser import text_string_to_metric_families

from backend.history.drift import STATISTICS, THRESHOLD, Drift, Statistic
from backend.telemetry.metrics import Metrics
from tests.conftest import ROOT


def test_rules_use_existing_gauges_and_labels() -> None:
    content = yaml.safe_load((ROOT / "deploy" / "prometheus_alerts.yaml").read_text())
    rules = {rule["alert"]: rule for group in content["groups"] for rule in group["rules"]}
    metrics = Metrics()
    metrics.set_drift("cat", Drift(1, 1, None, (Statistic("pixels", 1, 2.0, 3.0, 4.0),), ()))
    families = text_string_to_metric_families(metrics.expose()[0].decode())
    labels = {each.name: set(each.samples[0].labels) for each in families if each.samples}
    for rule in rules.values():
        name = re.search(r"prism_\w+", rule["expr"])
        assert name is not None
        assert "model" in labels[name[0]]
        assert set(re.findall(r'statistic="(\w+)"', rule["expr"])) <= set(STATISTICS)
    threshold = float(rules["PrismModelErrors"]["expr"].split(">=")[1])
    assert threshold == ceil(THRESHOLD * 10_000) / 10_000
