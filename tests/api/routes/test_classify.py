"""POST /classify and POST /classify/batch."""

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


def test_form_returns_all_fields(client: TestClient) -> None:
    result = client.post("/classify", files={"file": ("my seven.png", SEVEN)}).json()
    assert set(result) == {
        "id", "filename", "model", "prediction", "confidence", "top", "probabilities",
        "prediction_set", "coverage", "in_distribution", "ood_score", "stored", "timings_ms",
    }  # fmt: skip
    assert result["filename"] == "my seven.png"
    assert result["model"] == {"name": "fake", "version": "1"}
    assert result["prediction"] == "7"
    assert result["confidence"] == result["top"][0]["probability"] == result["probabilities"][7]
    assert [score["label"] for score in result["top"]] == ["7", "0", "1", "2", "3"]
    assert len(result["probabilities"]) == 10
    assert sum(result["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert result["prediction_set"] is result["coverage"] is result["in_distribution"] is None
    assert set(result["timings_ms"]) == {"decode", "queue", "inference"}


@pytest.mark.parametrize("path", ["/classify", "/classify/"])
@pytest.mark.parametrize("field", ["file", "image"])
def test_both_field_names_and_trailing_slash_are_accepted(
    client: TestClient, path: str, field: str
) -> None:
    assert client.post(path, files={field: SEVEN}).json()["prediction"] == "7"


@pytest.mark.parametrize("media_type", ["image/png", "image/*", "application/octet-stream"])
def test_raw_image_is_accepted_with_any_image_type(client: TestClient, media_type: str) -> None:
    result = client.post("/classify", content=SEVEN, headers={"Content-Type": media_type}).json()
    assert (result["prediction"], result["filename"]) == ("7", None)


def test_classification_ids_differ(client: TestClient) -> None:
    ids = {client.post("/classify", files={"file": SEVEN}).json()["id"] for _ in range(2)}
    assert len(ids) == 2


def test_top_k_limits_listed_classes(client: TestClient) -> None:
    for top_k, expected in ((1, 1), (10, 10), (1000, 10)):
        result = client.post(f"/classify?top_k={top_k}", files={"file": SEVEN}).json()
        assert len(result["top"]) == expected


def test_probabilities_can_be_omitted(client: TestClient) -> None:
    result = client.post("/classify?probabilities=false", files={"file": SEVEN}).json()
    assert "probabilities" not in result
    assert result["prediction"] == "7"


@pytest.mark.parametrize("query", ["top_k=0", "top_k=-1", "top_k=many", "probabilities=perhaps"])
def test_invalid_parameter_is_named(client: TestClient, query: str) -> None:
    body = problem(
        client.post(f"/classify?{query}", files={"file": SEVEN}), 422, "invalid_parameter"
    )
    assert body["detail"].startswith(query.split("=")[0])


def test_unknown_model_returns_404_with_served_models(client: TestClient) -> None:
    body = problem(client.post("/classify?model=cats", files={"file": SEVEN}), 404, "unknown_model")
    assert "fake" in body["detail"]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 400, "empty_file"),
        (b"hello", 415, "unsupported_image"),
        (SEVEN[:100], 400, "truncated_image"),
        (bytes(100_001), 413, "image_too_large"),
        (bytes(300_000), 413, "image_too_large"),
    ],
)
def test_invalid_image_returns_4xx_with_code(
    client: TestClient, data: bytes, status: int, code: str
) -> None:
    problem(client.post("/classify", files={"file": ("x.png", data)}), status, code)


def test_too_many_pixels_return_413(models_dir: Path) -> None:
    with serve(models_dir, max_pixels=1000) as client:
        problem(client.post("/classify", files={"file": SEVEN}), 413, "image_too_large")


def test_form_without_image_names_missing_field(client: TestClient) -> None:
    body = problem(client.post("/classify", files={"cat": SEVEN}), 400, "missing_file")
    assert "'file'" in body["detail"]


@pytest.mark.parametrize("content", [b"", b"--", b"--x\r\n\r\n", b"--x\r\nno header\r\n\r\n"])
def test_invalid_form_returns_400(client: TestClient, content: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    problem(client.post("/classify", content=content, headers=headers), 400, "malformed_request")


def test_incomplete_form_returns_400(client: TestClient) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = client.post("/classify", content=head + SEVEN, headers=headers)
    problem(response, 400, "malformed_request")


@pytest.mark.parametrize("media_type", ["multipart/form-data", "text/plain", "application/json"])
def test_unsupported_media_type_is_rejected(client: TestClient, media_type: str) -> None:
    response = client.post("/classify", content=SEVEN, headers={"Content-Type": media_type})
    assert response.status_code in {400, 415}
    assert response.json()["code"] in {"malformed_request", "unsupported_media_type"}


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a\\b.png", "ünïcödé.png", "x" * 3000, "a;b=c.png", "%00.png"]
)
def test_filename_is_returned_and_not_used(client: TestClient, name: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = client.post("/classify", files={"file": (name, SEVEN)}).json()
    assert result["prediction"] == "7"
    assert result["filename"] == name
    assert sorted(tmp_path.rglob("*")) == before


def form(disposition: str, content: bytes = SEVEN) -> tuple[bytes, dict[str, str]]:
    head = f"--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()
    return head + content + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


def test_extended_filename_is_decoded(
    client: TestClient,
) -> None:
    content, headers = form('name="file"; filename="na.png"; filename*=utf-8\'\'na%C3%AFve.png')
    result = client.post("/classify", content=content, headers=headers).json()
    assert result["filename"] == "naïve.png"


def test_empty_file_input_of_browser_is_skipped(client: TestClient) -> None:
    files = [("file", ("", b"")), ("file", ("seven.png", SEVEN))]
    assert client.post("/classify", files=files).json()["filename"] == "seven.png"


def test_access_log_has_one_line_without_query(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "prism.access")
    client.post("/classify?top_k=3&secret=drawing", files={"file": SEVEN})
    (line,) = [record.getMessage() for record in caplog.records if record.name == "prism.access"]
    assert "POST '/classify' 200" in line
    assert "secret" not in line


def test_full_queue_returns_429(models_dir: Path) -> None:
    gate = threading.Event()
    gate.set()
    runtime = FakeRuntime(10, gate=gate)
    with serve(models_dir, runtime, queue_size=1, timeout=2) as client:
        client.post("/classify", files={"file": SEVEN})
        gate.clear()
        statuses: list[int] = []

        def send() -> None:
            response = client.post("/classify", files={"file": SEVEN})
            statuses.append(response.status_code)
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
    assert 429 in statuses
    assert set(statuses) <= {200, 429}


def test_late_classification_returns_504(models_dir: Path) -> None:
    gate = threading.Event()
    gate.set()
    with serve(models_dir, FakeRuntime(10, gate=gate), timeout=0.2) as client:
        client.post("/classify", files={"file": SEVEN})
        gate.clear()
        problem(client.post("/classify", files={"file": SEVEN}), 504, "deadline_passed")
        gate.set()


def test_batch_returns_lines_in_order_and_invalid_image_fails_alone(client: TestClient) -> None:
    names = [f"{i}.png" for i in range(30)]
    files = [("file", (name, b"broken" if name == "3.png" else SEVEN)) for name in names]
    response = client.post("/classify/batch?top_k=2", files=files)
    assert response.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert [line["filename"] for line in lines] == names
    assert set(lines[3]) == KEYS | {"filename"}
    assert (lines[3]["code"], lines[3]["status"]) == ("unsupported_image", 415)
    valid_lines = lines[:3] + lines[4:]
    assert {line["prediction"] for line in valid_lines} == {"7"}
    assert {len(line["top"]) for line in valid_lines} == {2}


def test_oversized_image_fails_alone_in_batch(client: TestClient) -> None:
    files = [("file", ("big", bytes(150_000))), ("file", ("good", SEVEN))]
    lines = [json.loads(line) for line in client.post("/classify/batch", files=files).iter_lines()]
    assert lines[0]["code"] == "image_too_large"
    assert lines[1]["prediction"] == "7"


def test_oversized_batch_returns_413(client: TestClient) -> None:
    files = [("file", (str(i), bytes(90_000))) for i in range(6)]
    problem(client.post("/classify/batch", files=files), 413, "body_too_large")


def test_batch_without_files_and_raw_batch_are_rejected(client: TestClient) -> None:
    problem(client.post("/classify/batch", files={"cat": SEVEN}), 400, "missing_file")
    response = client.post("/classify/batch", content=SEVEN, headers={"Content-Type": "image/png"})
    problem(response, 415, "unsupported_media_type")


def test_model_parameter_selects_model(models_dir: Path) -> None:
    write_model(models_dir, "other", labels=tuple("abcdefghij"), version="2")
    with serve(models_dir) as client:
        result = client.post("/classify?model=other", files={"file": encoded(noise())}).json()
    assert result["model"] == {"name": "other", "version": "2"}
    assert result["prediction"] == "a"


def test_batch_larger_than_queue_is_classified(models_dir: Path) -> None:
    with serve(models_dir, queue_size=2) as client:
        files = [("file", (f"{number}.png", SEVEN)) for number in range(20)]
        lines = client.post("/classify/batch", files=files).text.splitlines()
    assert len(lines) == 20
    assert all("prediction" in json.loads(line) for line in lines)
