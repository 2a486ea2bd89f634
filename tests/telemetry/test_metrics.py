"""Pictures and requests are counted so that the sums agree, over all workers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from backend.inference.observer import SILENT, Observer
from backend.telemetry.metrics import Metrics
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "observability.md"


def read(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of an exposition."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: Metrics | str, name: str, **labels: str) -> float:
    text = metrics if isinstance(metrics, str) else metrics.expose()[0].decode()
    return read(text)[name, frozenset(labels.items())]


def test_every_picture_that_is_admitted_ends_in_one_way() -> None:
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

    def count(what: str, **labels: str) -> float:
        return value(metrics, f"prism_images_{what}_total", model="cat", **labels)

    ended = count("answered") + count("expired") + count("abandoned")
    ended += count("failed", code="broken_image") + count("failed", code="ValueError")
    assert (count("admitted"), ended) == (6, 5)
    assert (count("shed", reason="too_slow"), count("shed", reason="queue_full")) == (1, 0)
    for part, seconds in (("decode", 0.001), ("queue", 0.02), ("inference", 0.3)):
        assert value(metrics, f"prism_{part}_seconds_count", model="cat") == 1
        assert value(metrics, f"prism_{part}_seconds_sum", model="cat") == pytest.approx(seconds)


def test_forward_passes_are_counted_by_size_and_reason_and_the_queue_as_it_is_now() -> None:
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


def test_requests_are_counted_by_route_however_the_path_is_spelt() -> None:
    metrics = Metrics()
    metrics.began()
    assert value(metrics, "prism_requests_in_flight") == 1
    metrics.ended("POST", "/classify/", "cat", 200, 0.1)
    metrics.began()
    metrics.ended("POST", "/classify", "cat", 200, 0.1)
    told = {"method": "POST", "route": "/classify", "model": "cat", "code": "200"}
    assert value(metrics, "prism_requests_total", **told) == 2
    assert value(metrics, "prism_request_seconds_count", route="/classify") == 2
    assert value(metrics, "prism_requests_in_flight") == 0


def test_a_client_cannot_make_labels() -> None:
    metrics = Metrics()
    for number in range(50):
        metrics.began()
        metrics.ended(f"METHOD{number}", "", "", 404, 0.1)
    told = {"method": "other", "route": "other", "model": "", "code": "404"}
    assert value(metrics, "prism_requests_total", **told) == 50
    assert not metrics._answers


def test_two_applications_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.observer("cat").admitted()
    second.observer("cat")
    assert value(second, "prism_images_admitted_total", model="cat") == 0


def test_a_scraper_gets_the_format_that_it_asks_for() -> None:
    metrics = Metrics()
    content, media_type = metrics.expose("application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    assert content.endswith(b"# EOF\n")
    content, media_type = metrics.expose("*/*")
    assert media_type.startswith("text/plain")
    assert b"_created" not in content


def test_the_silent_observer_and_the_counting_one_hear_the_same() -> None:
    counting: Observer = Metrics().observer("cat")
    for observer in (counting, SILENT):
        observer.admitted()
        observer.depth(1)
        observer.batch(1, "single")
        observer.answered(0, 0, 0)
        observer.shed("queue_full")
        observer.failed("x")
        observer.expired()
        observer.abandoned()


WORKER = """
import sys
from backend.telemetry.metrics import Metrics
metrics = Metrics()
model = metrics.observer("cat")
for _ in range(int(sys.argv[1])):
    metrics.began()
    model.admitted()
    model.answered(0.001, 0.001, 0.001)
    metrics.ended("POST", "/classify", "cat", 200, 0.01)
metrics.began()
model.depth(int(sys.argv[1]))
print("counted", flush=True)
sys.stdin.read()
"""
READER = """
import sys
from backend.telemetry.metrics import Metrics, forget_worker
for pid in sys.argv[1:]:
    forget_worker(int(pid))
sys.stdout.write(Metrics().expose()[0].decode())
"""


def test_any_worker_answers_for_all_and_a_dead_one_leaves_its_counts_behind(
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
            [sys.executable, "-c", WORKER, str(pictures)],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for pictures in (3, 4)
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
    for worker in workers:
        worker.communicate()
    text = read_all(workers[1].pid)
    assert value(text, "prism_requests_total", **requests) == 7
    assert value(text, "prism_queue_depth", model="cat") == 3
    assert value(text, "prism_requests_in_flight") == 1


def test_the_page_tells_every_metric_with_its_type_and_labels() -> None:
    rows = {
        cells[0].strip("` "): (cells[1].strip(), set(re.findall(r"\w+", cells[2])))
        for line in PAGE.read_text().splitlines()
        if line.startswith("| `prism_") and (cells := line.strip("|").split("|"))
    }
    metrics = Metrics()
    model = metrics.observer("cat")
    model.failed("x")
    metrics.began()
    metrics.ended("GET", "/", "", 200, 0.1)
    families = list(text_string_to_metric_families(metrics.expose()[0].decode()))
    ours = [family for family in families if family.name.startswith("prism_")]
    assert rows == {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            set(family.samples[0].labels) - {"le"},
        )
        for family in ours
    }
