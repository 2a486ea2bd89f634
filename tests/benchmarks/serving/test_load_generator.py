"""The load generator, against a server that does as it is told."""

import asyncio
from itertools import cycle
from pathlib import Path

import pytest

from benchmarks.serving.http_client import get, upload
from benchmarks.serving.load_generator import Job, from_json, run, to_json
from benchmarks.serving.open_loop import open_loop
from tests.benchmarks.serving.conftest import Script

Scripted = tuple[int, Script]
SHORT = 0.3  # seconds; nothing below depends on how fast the machine is


def picture(folder: Path, name: str = "seven.png") -> str:
    path = folder / name
    path.write_bytes(b"bytes of " + name.encode())
    return str(path)


def test_a_closed_loop_counts_what_was_answered(scripted: Scripted, tmp_path: Path) -> None:
    port, script = scripted
    script.say(200, 429, 200, 503, 504, 200)
    clients = 4
    outcome = run(
        Job(port, "/classify", (picture(tmp_path),), clients=clients, warm=0, seconds=SHORT)
    )
    assert set(outcome.statuses) == {"200", "429", "503", "504"}
    for status, count in outcome.statuses.items():
        # the last answers may have been on their way when the time was up
        assert 0 <= script.answered[int(status)] - count <= clients
    assert set(outcome.failures) == {"429", "503", "504"}
    assert outcome.rate == outcome.goodput > 0


def test_the_picture_arrives_as_the_field_of_a_form(scripted: Scripted, tmp_path: Path) -> None:
    port, script = scripted
    pictures = (picture(tmp_path, "a.png"), picture(tmp_path, "b.jpg"))
    run(Job(port, "/classify", pictures, clients=2, warm=0, seconds=SHORT))
    (kind,) = script.types
    boundary = kind.partition("boundary=")[2].encode()
    assert len(script.bodies) == len(pictures)
    for body in script.bodies:
        assert body.startswith(b"--" + boundary + b"\r\n")
        assert b'name="file"; filename="' in body
        assert body.endswith(b"\r\n--" + boundary + b"--\r\n")
        assert b"\r\n\r\nbytes of " in body


def test_an_answer_in_chunks_is_one_answer(scripted: Scripted) -> None:
    port, script = scripted
    script.chunked = True
    outcome = run(Job(port, "/health", warm=0, seconds=SHORT))
    assert set(outcome.statuses) == {"200"}
    assert 0 <= script.answered[200] - outcome.statuses["200"] <= 1


def test_a_client_whose_connection_broke_comes_back(scripted: Scripted) -> None:
    port, script = scripted
    script.say(200, 0)
    outcome = run(Job(port, "/health", clients=2, warm=0, seconds=SHORT))
    assert outcome.statuses["0"] > 0
    assert outcome.statuses["200"] > 1


def test_where_nobody_listens_there_is_nothing_to_measure() -> None:
    with pytest.raises(OSError, match=r"refused|Connect"):
        run(Job(1, "/health", warm=0, seconds=SHORT))


def test_an_open_loop_sends_by_its_schedule_however_slow_the_server(scripted: Scripted) -> None:
    port, script = scripted
    script.service = 0.03
    records = asyncio.run(
        open_loop(port, cycle([get("/health")]), 50, rate=100, warm=0.1, seconds=0.2, patience=10)
    )
    assert len(records.answers) == 30
    assert records.unanswered == 0


def test_latency_runs_from_the_time_a_request_was_due(scripted: Scripted) -> None:
    port, script = scripted
    script.service = 0.03
    # One request each 10 ms, one answer each 30 ms: number n waits for n times 20 ms at least.
    records = asyncio.run(
        open_loop(port, cycle([get("/health")]), 1, rate=100, warm=0, seconds=0.2, patience=10)
    )
    assert max(answer.latency for answer in records.answers) > 10 * script.service


def test_an_open_loop_tells_accepted_from_rejected_and_late_answers(scripted: Scripted) -> None:
    port, script = scripted
    script.say(200, 429, 200, 504)
    outcome = run(Job(port, "/health", clients=20, rate=200, warm=0, seconds=0.5, deadline=0.0))
    assert set(outcome.statuses) == {"200", "429", "504"}
    assert outcome.rate > 0
    assert outcome.goodput < 0.1 * outcome.rate  # hardly an answer comes in no time
    assert outcome.accepted.p50 > 0
    assert outcome.rejected.p99 > 0


def test_what_is_never_answered_is_counted(scripted: Scripted) -> None:
    port, script = scripted
    with script.turn:  # the server does not get to it
        records = asyncio.run(
            open_loop(port, cycle([get("/")]), 4, rate=100, warm=0, seconds=0.1, patience=0.1)
        )
    assert records.unanswered == 10
    assert not records.answers


def test_an_outcome_survives_its_way_between_the_processes(scripted: Scripted) -> None:
    outcome = run(Job(scripted[0], "/health", warm=0, seconds=0.1))
    again = from_json(to_json(outcome))
    assert to_json(again) == to_json(outcome)
    assert again.accepted == outcome.accepted


def test_a_request_states_the_length_of_its_body(tmp_path: Path) -> None:
    head, _, body = upload("/classify", Path(picture(tmp_path))).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
