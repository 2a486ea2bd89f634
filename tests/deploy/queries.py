"""The queries of the alert rules and of the dashboard."""

import json
import re

import yaml

from tests.conftest import ROOT

RULES = ROOT / "deploy" / "prometheus_alerts.yaml"
DASHBOARD = ROOT / "deploy" / "monitoring" / "grafana" / "prism.json"

_LABELS = r"\{([^}]*)\}"


def alerts() -> dict[str, str]:
    """Return the expression of each alert."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def panels(*, job: str = "prism-backend", interval: str = "5m") -> dict[str, list[str]]:
    """Return the expressions of each panel of the dashboard, with its variables replaced."""
    text = DASHBOARD.read_text().replace("$job", job).replace("$__rate_interval", interval)
    found = json.loads(text)["panels"]
    return {
        panel["title"]: [target["expr"] for target in panel["targets"]]
        for panel in found
        if panel["type"] != "row"
    }


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Return the metrics that an expression reads, with the labels that their selectors name."""
    return [
        (name, set(re.findall(r"(\w+)\s*[=!]~?", labels)))
        for name, labels in re.findall(rf"\b((?:prism|process)_\w+|up\b)(?:{_LABELS})?", expression)
    ]


def grouped(expression: str) -> set[str]:
    """Return the labels in the `by` and `on` clauses of an expression."""
    clauses = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
    return {label for clause in clauses for label in re.split(r",\s*", clause)}
