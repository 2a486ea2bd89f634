"""Troubles in words."""

from dataclasses import replace

import pytest

from client import BackendError, BackendUnreachable, ClientError, InvalidAnswer
from frontend import problems
from tests.frontend.answers import MODEL


def test_an_unreachable_backend_is_told_with_what_to_do() -> None:
    problem = problems.of(BackendUnreachable("http://localhost:8000"))
    assert problem.what == "The backend is not reachable at http://localhost:8000."
    for way in ("make run", "python -m backend", "BACKEND"):
        assert way in problem.advice
    assert problem.passing


def test_a_busy_backend_says_when_to_come_back() -> None:
    problem = problems.of(BackendError(status=429, retry_after=7))
    assert "busy" in problem.what
    assert "7 seconds" in problem.advice


def test_a_damaged_picture_and_an_empty_file_are_told_apart() -> None:
    damaged = problems.of(BackendError(status=400, code="broken_image", detail="…"))
    empty = problems.of(BackendError(status=400, code="empty_file", detail="…"))
    assert damaged.what == "This picture is damaged."
    assert empty.what == "This file is empty."


def test_an_unexpected_failure_gives_the_request_to_look_up() -> None:
    assert "r2" in problems.of(BackendError(status=500, request_id="r2")).advice


@pytest.mark.parametrize(
    "error",
    [
        BackendUnreachable("http://x", timed_out=True),
        InvalidAnswer("secret"),
        *(BackendError(status=s) for s in (302, 400, 403, 404, 413, 415, 422, 429, 500, 503, 504)),
    ],
)
def test_every_trouble_has_a_sentence_and_a_way_on(error: ClientError) -> None:
    problem = problems.of(error)
    assert problem.what.endswith(".") or isinstance(error, BackendError)
    assert problem.advice
    assert "secret" not in problem.what + problem.advice


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_bad_picture_is_not_asked_about_again(status: int) -> None:
    assert problems.is_lasting(BackendError(status=status))


def test_a_loading_model_is_waited_for_and_a_failed_one_is_not() -> None:
    loading = problems.of_model(replace(MODEL, state="loading"))
    failed = problems.of_model(replace(MODEL, state="failed", error="No weights."))
    assert loading is not None
    assert loading.waiting
    assert failed is not None
    assert not failed.passing
    assert "No weights." in failed.what
    assert problems.of_model(MODEL) is None
