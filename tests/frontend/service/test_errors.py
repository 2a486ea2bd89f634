"""Troubles in words."""

from dataclasses import replace

import pytest

from client import BackendError, BackendUnreachable, ClientError, InvalidResponse
from frontend.service import errors
from tests.frontend.answers import MODEL


def test_an_unreachable_backend_is_told_with_what_to_do() -> None:
    problem = errors.describe(BackendUnreachable("http://localhost:8000"))
    assert problem.message == "The backend is not reachable at http://localhost:8000."
    for way in ("make run", "python -m backend", "BACKEND"):
        assert way in problem.advice
    assert problem.is_temporary


def test_a_busy_backend_says_when_to_come_back() -> None:
    problem = errors.describe(BackendError(status=429, retry_after=7))
    assert "busy" in problem.message
    assert "7 seconds" in problem.advice


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (BackendError(status=429, retry_after=7), 7),
        (BackendError(status=503, retry_after=3), 3),
        (BackendError(status=429), errors.RETRY_SOON),
        (BackendError(status=503, code="draining", retry_after=1), 1),
        (BackendError(status=504), errors.RETRY_LATER),
        (BackendUnreachable("http://x"), errors.RETRY_SOON),
        (BackendError(status=500), None),
        (BackendError(status=401), None),
        (BackendError(status=415), None),
    ],
)
def test_what_waiting_mends_says_when_to_ask_again(
    error: ClientError, seconds: float | None
) -> None:
    assert errors.describe(error).retry_after == seconds


@pytest.mark.parametrize("code", ["api_key_missing", "api_key_wrong"])
def test_a_missing_or_wrong_key_names_the_setting(code: str) -> None:
    status = 401 if code == "api_key_missing" else 403
    for told in (errors.describe, errors.describe_history_error):
        problem = told(BackendError(status=status, code=code))
        assert "BACKEND_API_KEY" in problem.advice
        assert "key" in problem.message or "history" in problem.message


def test_a_closed_history_says_how_to_open_it() -> None:
    problem = errors.describe_history_error(BackendError(status=401, code="api_key_missing"))
    assert problem.message == "The history of this backend is not open to this page."
    assert "PRISM_HISTORY_OPEN=true" in problem.advice


@pytest.mark.parametrize(
    ("status", "code", "what"),
    [
        (503, "draining", "The backend is being restarted."),
        (503, "not_ready", "The model is still loading."),
        (404, "unknown_answer", "The backend no longer keeps this answer."),
        (404, "unknown_model", "The backend does not serve this model."),
        (503, "history_unavailable", "The backend cannot reach its history."),
    ],
)
def test_one_status_has_as_many_sentences_as_it_has_reasons(
    status: int, code: str, what: str
) -> None:
    assert errors.describe(BackendError(status=status, code=code)).what == what


def test_a_damaged_picture_and_an_empty_file_are_told_apart() -> None:
    damaged = errors.describe(BackendError(status=400, code="broken_image", detail="…"))
    empty = errors.describe(BackendError(status=400, code="empty_file", detail="…"))
    assert damaged.what == "This picture is damaged."
    assert empty.what == "This file is empty."


def test_an_unexpected_failure_gives_the_request_to_look_up() -> None:
    assert "r2" in errors.describe(BackendError(status=500, request_id="r2")).advice


@pytest.mark.parametrize(
    "error",
    [
        BackendUnreachable("http://x", timed_out=True),
        InvalidResponse("secret"),
        *(BackendError(status=s) for s in (302, 400, 403, 404, 413, 415, 422, 429, 500, 503, 504)),
    ],
)
def test_every_trouble_has_a_sentence_and_a_way_on(error: ClientError) -> None:
    problem = errors.describe(error)
    assert problem.message.endswith(".") or isinstance(error, BackendError)
    assert problem.advice
    assert "secret" not in problem.message + problem.advice


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_bad_picture_is_not_asked_about_again(status: int) -> None:
    assert errors.is_permanent(BackendError(status=status))


def test_a_loading_model_is_waited_for_and_a_failed_one_is_not() -> None:
    loading = errors.describe_model_state(replace(MODEL, state="loading"))
    failed = errors.describe_model_state(replace(MODEL, state="failed", error="No weights."))
    assert loading is not None
    assert loading.is_waiting
    assert failed is not None
    assert not failed.is_temporary
    assert "No weights." in failed.message
    assert errors.describe_model_state(MODEL) is None
