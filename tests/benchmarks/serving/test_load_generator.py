"""Tests of the load generator with a scripted server."""

import asyncio
import base64
import math
from itertools import cycle, pairwise
from pathlib import Path
from typing import get_args

import pytest

from benchmarks.serving.http_client import Protocol, get_request, upload_request
from benchmarks.serving.load_generator import Job, from_json, run, to_json
from benchmarks.serving.open_loop import open_loop, schedule
from tests.benchmarks.serving.conftest import Script

Scripted = tuple[int, Script]
SHORT = 0.3  # seconds; no test depends on the speed of the machine


def create_image(folder: Path, name: str = "seven.png") -> str:
    path = folder / name
    path.write_bytes(b"bytes of " + name.encode())
    return str(path)


def test_closed_loop_counts_responses_by_status(scripted: Scripted, tmp_path: Path) -> None:
    port, script = scripted
    script.set_statuses(200, 429, 200, 503, 504, 200)
    clients = 4
    outcome = run(
        Job(port, "/classify", (create_image(tmp_path),), clients=clients, warmup=0, seconds=SHORT)
    )
    assert set(outcome.statuses) == {"200", "429", "503", "504"}
    for status, count in outcome.statuses.items():
        # the last responses may be in transit at the end
        assert 0 <= script.counts[int(status)] - count <= clients
    assert set(outcome.failures) == {"429", "503", "504"}
    assert outcome.rate == outcome.goodput > 0


def test_images_are_uploaded_as_form_field(scripted: Scripted, tmp_path: Path) -> None:
    port, script = scripted
    images = (create_image(tmp_path, "a.png"), create_image(tmp_path, "b.jpg"))
    run(Job(port, "/classify", images, clients=2, warmup=0, seconds=SHORT))
    (content_type,) = script.content_types
    boundary = content_type.partition("boundary=")[2].encode()
    assert len(script.bodies) == len(images)
    for body in script.bodies:
        assert body.startswith(b"--" + boundary + b"\r\n")
        assert b'name="file"; filename="' in body
        assert body.endswith(b"\r\n--" + boundary + b"--\r\n")
        assert b"\r\n\r\nbytes of " in body


def test_chunked_response_counts_once(scripted: Scripted) -> None:
    port, script = scripted
    script.is_chunked = True
    outcome = run(Job(port, "/health", warmup=0, seconds=SHORT))
    assert set(outcome.statuses) == {"200"}
    assert 0 <= script.counts[200] - outcome.statuses["200"] <= 1


def test_client_reconnects_after_broken_connection(scripted: Scripted) -> None:
    port, script = scripted
    script.set_statuses(200, 0)
    outcome = run(Job(port, "/health", clients=2, warmup=0, seconds=SHORT))
    assert outcome.statuses["0"] > 0
    assert outcome.statuses["200"] > 1


def test_refused_connection_raises_os_error() -> None:
    with pytest.raises(OSError, match=r"refused|Connect"):
        run(Job(1, "/health", warmup=0, seconds=SHORT))


def test_open_loop_keeps_its_schedule_with_a_slow_server(scripted: Scripted) -> None:
    port, script = scripted
    script.delay = 0.03
    record = asyncio.run(
        open_loop(
            port,
            cycle([get_request("/health")]),
            50,
            rate=100,
            warmup=0.1,
            seconds=0.2,
            drain_timeout=10,
        )
    )
    assert len(record.responses) == 30
    assert record.unanswered == 0


def test_latency_starts_at_the_scheduled_time(scripted: Scripted) -> None:
    port, script = scripted
    script.delay = 0.03
    # One request every 10 ms, one response every 30 ms: request n waits at least n times 20 ms.
    record = asyncio.run(
        open_loop(
            port,
            cycle([get_request("/health")]),
            1,
            rate=100,
            warmup=0,
            seconds=0.2,
            drain_timeout=10,
        )
    )
    assert max(response.latency for response in record.responses) > 10 * script.delay


def test_open_loop_separates_accepted_rejected_and_late_responses(scripted: Scripted) -> None:
    port, script = scripted
    script.set_statuses(200, 429, 200, 504)
    outcome = run(Job(port, "/health", clients=20, rate=200, warmup=0, seconds=0.5, deadline=0.0))
    assert set(outcome.statuses) == {"200", "429", "504"}
    assert outcome.rate > 0
    assert outcome.goodput < 0.1 * outcome.rate  # almost no response meets a deadline of 0 s
    assert outcome.accepted.p50 > 0
    assert outcome.rejected.p99 > 0


def test_unanswered_requests_are_counted(scripted: Scripted) -> None:
    port, script = scripted
    with script.lock:  # the server does not respond
        record = asyncio.run(
            open_loop(
                port,
                cycle([get_request("/")]),
                4,
                rate=100,
                warmup=0,
                seconds=0.1,
                drain_timeout=0.1,
            )
        )
    assert record.unanswered == 10
    assert not record.responses


def test_outcome_survives_json_round_trip(scripted: Scripted) -> None:
    outcome = run(Job(scripted[0], "/health", warmup=0, seconds=0.1))
    parsed = from_json(to_json(outcome))
    assert to_json(parsed) == to_json(outcome)
    assert parsed.accepted == outcome.accepted


def test_upload_request_states_the_content_length(tmp_path: Path) -> None:
    head, _, body = upload_request("/classify", Path(create_image(tmp_path))).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


def test_number_replaces_the_placeholder_in_the_path(tmp_path: Path) -> None:
    image = Path(create_image(tmp_path))
    request = upload_request("/classify?model=head-{number}", image, number=7)
    assert request.startswith(b"POST /classify?model=head-7 HTTP/1.1\r\n")


def test_random_schedule_has_the_rate_and_depends_on_the_seed() -> None:
    times = schedule(100, 50, seed=1)
    assert times == schedule(100, 50, seed=1) != schedule(100, 50, seed=2)
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < 50
    assert abs(len(times) / 5000 - 1) < 0.1
    gaps = [after - before for before, after in pairwise(times)]
    assert sum(gap > 0.01 for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), abs=0.05)


def test_even_schedule() -> None:
    assert schedule(10, 0.35, seed=None) == [0, 0.1, 0.2]


@pytest.mark.parametrize("protocol", get_args(Protocol))
def test_every_protocol_sends_the_file(protocol: Protocol, tmp_path: Path) -> None:
    image = Path(create_image(tmp_path))
    head, _, body = upload_request("/", image, protocol).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    content = image.read_bytes()
    assert (base64.b64encode(content) if protocol == "gradio" else content) in body
