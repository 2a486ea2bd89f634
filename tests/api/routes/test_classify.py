"""POST /classify and POST /classify/batch, as their users send them."""

import json
import threading
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from backend.inference.runtimes.fake_runtime import FakeRuntime
from tests.api.problems import KEYS, problem
from tests.fake_models import serve, write_model
from tests.images import encoded, noise, seven

SEVEN = encoded(seven())


def test_a_form_is_answered_in_full(client: TestClient) -> None:
    answer = client.post("/classify", files={"file": ("my seven.png", SEVEN)}).json()
    assert set(answer) == {
        "id", "filename", "model", "prediction", "confidence", "top", "probabilities",
        "prediction_set", "coverage", "in_distribution", "ood_score", "stored", "timings_ms",
    }  # fmt: skip
    assert answer["filename"] == "my seven.png"
    assert answer["model"] == {"name": "fake", "version": "1"}
    assert answer["prediction"] == "7"
    assert answer["confidence"] == answer["top"][0]["probability"] == answer["probabilities"][7]
    assert [score["label"] for score in answer["top"]] == ["7", "0", "1", "2", "3"]
    assert len(answer["probabilities"]) == 10
    assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert answer["prediction_set"] is answer["coverage"] is answer["in_distribution"] is None
    assert set(answer["timings_ms"]) == {"decode", "queue", "inference"}


@pytest.mark.parametrize("path", ["/classify", "/classify/"])
@pytest.mark.parametrize("field", ["file", "image"])
def test_both_fields_and_both_spellings_of_the_path_work(
    client: TestClient, path: str, field: str
) -> None:
    assert client.post(path, files={field: SEVEN}).json()["prediction"] == "7"


@pytest.mark.parametrize("media_type", ["image/png", "image/*", "application/octet-stream"])
def test_the_raw_picture_is_taken_whatever_type_it_claims(
    client: TestClient, media_type: str
) -> None:
    answer = client.post("/classify", content=SEVEN, headers={"Content-Type": media_type}).json()
    assert (answer["prediction"], answer["filename"]) == ("7", None)


def test_two_answers_have_two_ids(client: TestClient) -> None:
    ids = {client.post("/classify", files={"file": SEVEN}).json()["id"] for _ in range(2)}
    assert len(ids) == 2


def test_top_k_says_how_many_classes_are_listed(client: TestClient) -> None:
    for top_k, listed in ((1, 1), (10, 10), (1000, 10)):
        answer = client.post(f"/classify?top_k={top_k}", files={"file": SEVEN}).json()
        assert len(answer["top"]) == listed


def test_the_probabilities_can_be_left_out(client: TestClient) -> None:
    answer = client.post("/classify?probabilities=false", files={"file": SEVEN}).json()
    assert "probabilities" not in answer
    assert answer["prediction"] == "7"


@pytest.mark.parametrize("query", ["top_k=0", "top_k=-1", "top_k=many", "probabilities=perhaps"])
def test_a_parameter_out_of_range_is_named(client: TestClient, query: str) -> None:
    body = problem(
        client.post(f"/classify?{query}", files={"file": SEVEN}), 422, "invalid_parameter"
    )
    assert body["detail"].startswith(query.split("=")[0])


def test_an_unknown_model_is_404_and_says_which_there_are(client: TestClient) -> None:
    body = problem(client.post("/classify?model=cats", files={"file": SEVEN}), 404, "unknown_model")
    assert "fake" in body["detail"]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 400, "empty_file"),
        (b"hello", 415, "unsupported_image"),
        (SEVEN[:100], 400, "broken_image"),
        (bytes(100_001), 413, "image_too_large"),
        (bytes(300_000), 413, "image_too_large"),
    ],
)
def test_a_bad_picture_is_a_4xx_with_a_code(
    client: TestClient, data: bytes, status: int, code: str
) -> None:
    problem(client.post("/classify", files={"file": ("x.png", data)}), status, code)


def test_too_many_pixels_are_413(models_dir: Path) -> None:
    with serve(models_dir, max_pixels=1000) as client:
        problem(client.post("/classify", files={"file": SEVEN}), 413, "image_too_large")


def test_a_form_without_a_picture_says_which_field_is_missing(client: TestClient) -> None:
    body = problem(client.post("/classify", files={"cat": SEVEN}), 400, "missing_file")
    assert "'file'" in body["detail"]


@pytest.mark.parametrize("content", [b"", b"--", b"--x\r\n\r\n", b"--x\r\nno header\r\n\r\n"])
def test_a_form_that_is_none_is_malformed(client: TestClient, content: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    problem(client.post("/classify", content=content, headers=headers), 400, "malformed_request")


def test_a_form_that_breaks_off_is_malformed(client: TestClient) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = client.post("/classify", content=head + SEVEN, headers=headers)
    problem(response, 400, "malformed_request")


@pytest.mark.parametrize("media_type", ["multipart/form-data", "text/plain", "application/json"])
def test_another_kind_of_body_is_refused_with_what_to_send(
    client: TestClient, media_type: str
) -> None:
    response = client.post("/classify", content=SEVEN, headers={"Content-Type": media_type})
    assert response.status_code in {400, 415}
    assert response.json()["code"] in {"malformed_request", "unsupported_media_type"}


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\\b.png", "ünïcödé.png", "x" * 3000, "a;b=c.png", "%00.png"]
)
def test_a_filename_is_echoed_and_nothing_else(
    client: TestClient, name: str, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    answer = client.post("/classify", files={"file": (name, SEVEN)}).json()
    assert answer["prediction"] == "7"
    assert answer["filename"] == name
    assert sorted(tmp_path.rglob("*")) == before


def form(disposition: str, content: bytes = SEVEN) -> tuple[bytes, dict[str, str]]:
    head = f"--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()
    return head + content + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


def test_a_filename_in_another_alphabet_is_understood_as_browsers_and_libraries_send_it(
    client: TestClient,
) -> None:
    content, headers = form('name="file"; filename="na.png"; filename*=utf-8\'\'na%C3%AFve.png')
    answer = client.post("/classify", content=content, headers=headers).json()
    assert answer["filename"] == "naïve.png"


def test_an_input_that_the_browser_left_empty_is_passed_over(client: TestClient) -> None:
    files = [("file", ("", b"")), ("file", ("seven.png", SEVEN))]
    assert client.post("/classify", files=files).json()["filename"] == "seven.png"


def test_the_log_has_one_line_a_request_and_never_its_query(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "prism.access")
    client.post("/classify?top_k=3&secret=drawing", files={"file": SEVEN})
    (line,) = [record.getMessage() for record in caplog.records if record.name == "prism.access"]
    assert "POST '/classify' 200" in line
    assert "secret" not in line


def test_a_full_queue_is_429_with_retry_after(models_dir: Path) -> None:
    gate = threading.Event()
    gate.set()
    runtime = FakeRuntime(10, gate=gate)
    with serve(models_dir, runtime, queue_size=1, timeout=2) as client:
        client.post("/classify", files={"file": SEVEN})
        gate.clear()
        answers: list[int] = []

        def send() -> None:
            response = client.post("/classify", files={"file": SEVEN})
            answers.append(response.status_code)
            if response.status_code == 429:
                problem(response, 429, "queue_full")
                assert int(response.headers["retry-after"]) >= 1
                gate.set()

        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gate.set()
    assert 429 in answers
    assert set(answers) <= {200, 429}


def test_an_answer_that_takes_too_long_is_504(models_dir: Path) -> None:
    gate = threading.Event()
    gate.set()
    with serve(models_dir, FakeRuntime(10, gate=gate), timeout=0.2) as client:
        client.post("/classify", files={"file": SEVEN})
        gate.clear()
        problem(client.post("/classify", files={"file": SEVEN}), 504, "deadline_passed")
        gate.set()


def test_a_batch_answers_each_picture_in_order_and_a_bad_one_alone(client: TestClient) -> None:
    names = [f"{i}.png" for i in range(30)]
    files = [("file", (name, b"broken" if name == "3.png" else SEVEN)) for name in names]
    response = client.post("/classify/batch?top_k=2", files=files)
    assert response.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert [line["filename"] for line in lines] == names
    assert set(lines[3]) == KEYS | {"filename"}
    assert (lines[3]["code"], lines[3]["status"]) == ("unsupported_image", 415)
    good = lines[:3] + lines[4:]
    assert {line["prediction"] for line in good} == {"7"}
    assert {len(line["top"]) for line in good} == {2}


def test_one_picture_that_is_too_large_spoils_no_batch(client: TestClient) -> None:
    files = [("file", ("big", bytes(150_000))), ("file", ("good", SEVEN))]
    lines = [json.loads(line) for line in client.post("/classify/batch", files=files).iter_lines()]
    assert lines[0]["code"] == "image_too_large"
    assert lines[1]["prediction"] == "7"


def test_a_batch_beyond_its_bytes_is_413(client: TestClient) -> None:
    files = [("file", (str(i), bytes(90_000))) for i in range(6)]
    problem(client.post("/classify/batch", files=files), 413, "body_too_large")


def test_a_batch_of_nothing_and_a_raw_batch_are_refused(client: TestClient) -> None:
    problem(client.post("/classify/batch", files={"cat": SEVEN}), 400, "missing_file")
    response = client.post("/classify/batch", content=SEVEN, headers={"Content-Type": "image/png"})
    problem(response, 415, "unsupported_media_type")


def test_the_model_is_chosen_by_name(models_dir: Path) -> None:
    write_model(models_dir, "other", labels=tuple("abcdefghij"), version="2")
    with serve(models_dir) as client:
        answer = client.post("/classify?model=other", files={"file": encoded(noise())}).json()
    assert answer["model"] == {"name": "other", "version": "2"}
    assert answer["prediction"] == "a"


def test_a_batch_waits_for_its_own_pictures_instead_of_being_refused(models_dir: Path) -> None:
    with serve(models_dir, queue_size=2) as client:
        files = [("file", (f"{number}.png", SEVEN)) for number in range(20)]
        lines = client.post("/classify/batch", files=files).text.splitlines()
    assert len(lines) == 20
    assert all("prediction" in json.loads(line) for line in lines)
