"""Error responses: one format, and no message of an unexpected exception."""

from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient

from backend.api.errors import ERROR_TABLE, MissingFileError, RequestError, error_response
from backend.inference import errors
from backend.inference.errors import ClosedError, PrismError, QueueFullError
from tests.api.problems import problem
from tests.fake_models import FailingRuntime, serve
from tests.images import encoded, seven


def leaf_classes(kind: type[PrismError]) -> set[type[PrismError]]:
    if kind in ERROR_TABLE:  # also holds for its subclasses
        return {kind}
    children = kind.__subclasses__()
    return {leaf for child in children for leaf in leaf_classes(child)} if children else {kind}


def test_every_error_that_clients_receive_has_a_code() -> None:
    operator_errors = {errors.ArtifactError, errors.UnreachableError}
    error_classes = {
        kind for kind in leaf_classes(PrismError) if kind.__module__.startswith("backend")
    }
    assert error_classes - operator_errors == set(ERROR_TABLE)
    assert issubclass(RequestError, PrismError)


def test_codes_are_unique() -> None:
    codes = [code for _, code in ERROR_TABLE.values()]
    assert len(codes) == len(set(codes))


def test_unknown_path_and_wrong_method_are_problems(client: TestClient) -> None:
    problem(client.get("/nowhere"), 404, "not_found")
    response = client.get("/classify")
    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_unexpected_error_is_logged_but_not_returned(
    models_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(models_dir, FailingRuntime("secret at /home/somebody 0xdeadbeef")) as client:
        single = client.post("/classify", files={"file": encoded(seven())})
        batch = client.post("/classify/batch", files={"file": encoded(seven())})
    body = problem(single, 500, "internal_error")
    assert "secret" not in single.text
    assert "secret" not in batch.text
    assert batch.json()["code"] == "internal_error"
    logged = caplog.text
    assert body["request_id"] in logged
    assert "secret at" in logged


@pytest.mark.parametrize(
    ("seconds", "retry_after"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (41.7, "42")]
)
def test_retry_after_is_in_whole_seconds(seconds: float, retry_after: str) -> None:
    response = error_response(QueueFullError("Busy.", retry_after=seconds), "id")
    assert (response.status_code, response.headers["retry-after"]) == (429, retry_after)


def test_draining_service_returns_retry_after() -> None:
    response = error_response(ClosedError("Ending."), "id")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


def test_disconnected_client_gets_empty_499() -> None:
    response = error_response(ClientDisconnect(), "id")
    assert (response.status_code, response.body) == (499, b"")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/classify", "POST"),
        ("/models", "GET, HEAD"),
        ("/history", "GET, HEAD, DELETE"),
        ("/history/", "DELETE"),
        ("/history/export", "GET, HEAD"),
        ("/history/storage", "GET, HEAD"),
        ("/history/" + "0" * 26, "GET, HEAD, PATCH, DELETE"),
        ("/history/" + "0" * 26 + "/image", "GET, HEAD"),
        ("/health", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
        ("/predict_nn/", "POST"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "TRACE", "BREW"])
def test_allow_lists_all_methods_of_the_path(
    shared_client: TestClient, path: str, methods: str, method: str
) -> None:
    response = shared_client.request(method, path)
    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == methods


def test_word_below_history_is_no_id(shared_client: TestClient) -> None:
    assert shared_client.patch("/history/export").status_code == 405
    problem(shared_client.get("/history/word"), 404, "not_found")


@pytest.mark.parametrize("path", ["/models", "/models/fake", "/home", "/openapi.json", "/docs"])
def test_head_is_supported_where_get_is(shared_client: TestClient, path: str) -> None:
    response = shared_client.head(path)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == shared_client.get(path).headers["content-type"]


def test_invalid_host_causes_no_server_error(models_dir: Path) -> None:
    with serve(models_dir, allowed_hosts="*") as client:
        for host in ("[", "[::1", "a]b", "\xff", "", "a:b:c"):
            response = client.get("/nowhere", headers={b"Host": host.encode("latin-1")})
            assert response.status_code in {400, 404, 421}


@pytest.mark.parametrize("path", ["/" + "a" * 7_000, "/models/" + "a" * 7_000])
def test_details_are_short(shared_client: TestClient, path: str) -> None:
    response = shared_client.get(path)
    assert response.status_code == 404
    assert len(response.content) < 1_000


def test_every_detail_is_cut() -> None:
    body = error_response(MissingFileError("a" * 5_000), "id").body
    assert 1_000 < len(body) < 1_500
