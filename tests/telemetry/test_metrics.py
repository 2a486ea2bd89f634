"""Counts of images and requests, over all workers."""

import os
import re
import subprocess
import sys
from math import isnan
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from backend.history.drift import Drift, Statistic
from backend.telemetry.metrics import Metrics
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "observability.md"


def read(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return all samples of an exposition."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: Metrics | str, name: str, **labels: str) -> float:
    text = metrics if isinstance(metrics, str) else metrics.expose()[0].decode()
    return read(text)[name, frozenset(labels.items())]


def test_every_admitted_image_is_counted_once() -> None:
    metrics = Metrics(lambda error: type(error).__name__)
    model = metrics.observer("cat")
    for _ in range(6):
        model.admitted()
    model.answered(0.001, 0.02, 0.3)
    model.failed("broken_image")
    model.failed(ValueError())
    model.expired()
    model.abandoned()
    model.shed("too_slow")

    def count(outcome: str, **labels: str) -> float:
        return value(metrics, f"prism_images_{outcome}_total", model="cat", **labels)

    finished = count("answered") + count("expired") + count("abandoned")
    finished += count("failed", code="broken_image") + count("failed", code="ValueError")
    assert (count("admitted"), finished) == (6, 5)
    assert (count("shed", reason="too_slow"), count("shed", reason="queue_full")) == (1, 0)
    for part, seconds in (("decode", 0.001), ("queue", 0.02), ("inference", 0.3)):
        assert value(metrics, f"prism_{part}_seconds_count", model="cat") == 1
        assert value(metrics, f"prism_{part}_seconds_sum", model="cat") == pytest.approx(seconds)


def test_batches_are_counted_and_queue_depth_is_current() -> None:
    metrics = Metrics()
    model = metrics.observer("cat")
    model.batch(1, "single")
    model.batch(32, "full")
    model.depth(7)
    model.depth(5)
    assert value(metrics, "prism_batch_size_sum", model="cat") == 33
    assert value(metrics, "prism_batch_size_bucket", model="cat", le="16.0") == 1
    assert value(metrics, "prism_batches_total", model="cat", reason="full") == 1
    assert value(metrics, "prism_batches_total", model="cat", reason="partial") == 0
    assert value(metrics, "prism_queue_depth", model="cat") == 5


def test_trailing_slash_does_not_change_the_route() -> None:
    metrics = Metrics()
    metrics.request_started()
    assert value(metrics, "prism_requests_in_flight") == 1
    metrics.request_finished("POST", "/classify/", "cat", 200, 0.1)
    metrics.request_started()
    metrics.request_finished("POST", "/classify", "cat", 200, 0.1)
    labels = {"method": "POST", "route": "/classify", "model": "cat", "code": "200"}
    assert value(metrics, "prism_requests_total", **labels) == 2
    assert value(metrics, "prism_request_seconds_count", route="/classify") == 2
    assert value(metrics, "prism_requests_in_flight") == 0


def test_unknown_methods_create_no_labels() -> None:
    metrics = Metrics()
    for number in range(50):
        metrics.request_started()
        metrics.request_finished(f"METHOD{number}", "", "", 404, 0.1)
    labels = {"method": "other", "route": "other", "model": "", "code": "404"}
    assert value(metrics, "prism_requests_total", **labels) == 50
    assert not metrics._request_counters


def test_applications_in_one_process_count_separately() -> None:
    first, second = Metrics(), Metrics()
    first.observer("cat").admitted()
    second.observer("cat")
    assert value(second, "prism_images_admitted_total", model="cat") == 0


def test_format_follows_the_accept_header() -> None:
    metrics = Metrics()
    content, media_type = metrics.expose("application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    assert content.endswith(b"# EOF\n")
    content, media_type = metrics.expose("*/*")
    assert media_type.startswith("text/plain")
    assert b"_created" not in content


WORKER = """
import sys
from backend.history.drift import Drift, Statistic
from backend.telemetry.metrics import Metrics
metrics = Metrics()
model = metrics.observer("cat")
for _ in range(int(sys.argv[1])):
    metrics.request_started()
    model.admitted()
    model.answered(0.001, 0.001, 0.001)
    metrics.request_finished("POST", "/classify", "cat", 200, 0.01)
metrics.request_started()
model.depth(int(sys.argv[1]))
metrics.set_drift("cat", Drift(1, 1, None, (Statistic("pixels", 1, 2.0, 3.0, 4.0),), ()))
metrics.set_drift("cat", None)
print("counted", flush=True)
sys.stdin.read()
"""
READER = """
import sys
from backend.telemetry.metrics import Metrics, remove_worker
for pid in sys.argv[1:]:
    remove_worker(int(pid))
sys.stdout.write(Metrics().expose()[0].decode())
"""


def test_workers_expose_sums_including_terminated_workers(
    tmp_path: Path,
) -> None:
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def read_all(*dead: int) -> str:
        command = [sys.executable, "-c", READER, *map(str, dead)]
        return subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, check=True
        ).stdout

    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(images)],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for images in (3, 4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"counted\n"
    text = read_all()
    requests = {"method": "POST", "route": "/classify", "model": "cat", "code": "200"}
    assert value(text, "prism_requests_total", **requests) == 7
    assert value(text, "prism_images_answered_total", model="cat") == 7
    assert value(text, "prism_decode_seconds_count", model="cat") == 7
    assert value(text, "prism_queue_depth", model="cat") == 7
    assert value(text, "prism_requests_in_flight") == 2
    assert isnan(value(text, "prism_drift_alert", model="cat"))
    assert isnan(value(text, "prism_drift_evidence", model="cat", statistic="pixels"))
    for worker in workers:
        worker.communicate()
    text = read_all(workers[1].pid)
    assert value(text, "prism_requests_total", **requests) == 7
    assert value(text, "prism_queue_depth", model="cat") == 3
    assert value(text, "prism_requests_in_flight") == 1


def test_drift_that_is_not_known_any_more_has_no_gauges() -> None:
    """Else the alert of a version would last after another one is activated, or it is deleted."""
    metrics = Metrics()
    one = Statistic("pixels", 1, 2.0, 3.0, 4.0)
    metrics.set_drift("cat", Drift(1, 1, None, (one,), ()))
    assert value(metrics, "prism_drift_alert", model="cat") == 1
    metrics.set_drift("cat", Drift(1, 1, None, (Statistic("pixels", 1),), ()))
    names = {name for name, _ in read(metrics.expose()[0].decode()) if "drift" in name}
    assert names == {"prism_drift_alert"}
    assert value(metrics, "prism_drift_alert", model="cat") == 0
    metrics.set_drift("cat", None)
    assert not [name for name, _ in read(metrics.expose()[0].decode()) if "drift" in name]


def test_only_the_served_version_of_a_model_is_exposed() -> None:
    metrics = Metrics()
    metrics.set_versions([("cat", "1"), ("dog", "1")])
    metrics.set_versions([("cat", "2")])
    exposed = read(metrics.expose()[0].decode())
    versions = {labels: found for (name, labels), found in exposed.items() if "info" in name}
    assert versions == {frozenset({("model", "cat"), ("version", "2")}): 1}


def test_documentation_lists_all_metrics() -> None:
    rows = {
        cells[0].strip("` "): (cells[1].strip(), set(re.findall(r"\w+", cells[2])))
        for line in PAGE.read_text().splitlines()
        if line.startswith("| `prism_") and (cells := line.strip("|").split("|"))
    }
    metrics = Metrics()
    model = metrics.observer("cat")
    model.failed("x")
    metrics.request_started()
    metrics.request_finished("GET", "/", "", 200, 0.1)
    metrics.set_versions([("cat", "1")])
    metrics.set_drift("cat", Drift(0, 0, None, (Statistic("pixels", 1, 2.0, 3.0, 4.0),), ()))
    families = list(text_string_to_metric_families(metrics.expose()[0].decode()))
    ours = [family for family in families if family.name.startswith("prism_")]
    assert rows == {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            set(family.samples[0].labels) - {"le"},
        )
        for family in ours
    }
