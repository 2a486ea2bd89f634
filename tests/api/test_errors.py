"""Every failure has one shape, and no exception's own words leave the process."""

from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient

from backend.api.errors import CATALOGUE, RequestError, answer
from backend.inference import errors
from backend.inference.errors import ClosedError, PrismError, QueueFullError
from tests.api.problems import problem
from tests.fake_models import FailingRuntime, serve
from tests.images import encoded, seven


def leaves(kind: type[PrismError]) -> set[type[PrismError]]:
    below = kind.__subclasses__()
    return {leaf for child in below for leaf in leaves(child)} if below else {kind}


def test_every_error_of_the_tree_that_a_client_can_meet_has_a_code() -> None:
    operators_only = {errors.ArtifactError, errors.UnreachableError, errors.RuntimeMissingError}
    known = {kind for kind in leaves(PrismError) if kind.__module__.startswith("backend")}
    assert known - operators_only == set(CATALOGUE)
    assert issubclass(RequestError, PrismError)


def test_codes_are_unique() -> None:
    codes = [code for _, code in CATALOGUE.values()]
    assert len(codes) == len(set(codes))


def test_an_unknown_path_and_a_wrong_method_are_problems(client: TestClient) -> None:
    problem(client.get("/nowhere"), 404, "not_found")
    response = client.get("/classify")
    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_an_unforeseen_failure_says_nothing_of_itself(
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
    ("seconds", "told"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (41.7, "42")]
)
def test_how_long_to_wait_is_told_in_whole_seconds(seconds: float, told: str) -> None:
    response = answer(QueueFullError("Busy.", retry_after=seconds), "id")
    assert (response.status_code, response.headers["retry-after"]) == (429, told)


def test_who_meets_the_end_of_the_service_may_come_back_soon() -> None:
    response = answer(ClosedError("Ending."), "id")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


def test_a_client_that_has_gone_is_logged_by_its_number_and_told_nothing() -> None:
    response = answer(ClientDisconnect(), "id")
    assert (response.status_code, response.body) == (499, b"")
