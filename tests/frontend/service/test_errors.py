"""Error messages."""

from dataclasses import replace

import pytest

from client import BackendError, BackendUnreachable, ClientError, InvalidResponse
from frontend.service import errors
from tests.frontend.samples import MODEL


def test_unreachable_backend_message_says_how_to_start_it() -> None:
    problem = errors.describe(BackendUnreachable("http://localhost:8000"))
    assert problem.message == "The backend is not reachable at http://localhost:8000."
    for hint in ("make run", "python -m backend", "BACKEND"):
        assert hint in problem.advice
    assert problem.is_temporary


def test_busy_backend_message_includes_retry_after() -> None:
    problem = errors.describe(BackendError(status=429, retry_after=7))
    assert "busy" in problem.message
    assert "7 seconds" in problem.advice


def test_used_up_quota_message_says_when_to_try_again() -> None:
    error = BackendError(status=429, code="quota_exceeded", retry_after=7)
    problem = errors.describe(error)
    assert problem.message == "The frontend's API key has used up its quota."
    assert problem.advice == "Try again in 7 seconds."
    assert problem.is_temporary
    assert problem.retry_after == 7


def test_key_without_scope_is_not_described_as_wrong_key() -> None:
    error = BackendError(status=403, code="scope_missing")
    assert errors.describe(error).message == "The frontend's API key does not permit this."
    for problem in (errors.describe(error), errors.describe_history_error(error)):
        assert "PRISM_API_KEYS" in problem.advice
        assert "BACKEND_API_KEY" not in problem.advice
    assert "`history`" in errors.describe_history_error(error).advice


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
def test_temporary_errors_have_a_retry_delay(error: ClientError, seconds: float | None) -> None:
    assert errors.describe(error).retry_after == seconds


def test_unsupported_file_is_described_in_the_words_of_the_backend() -> None:
    detail = "This is a PDF. Export the page as PNG or JPEG."
    problem = errors.describe(BackendError(status=415, code="unsupported_image", detail=detail))
    assert problem.message == "This is a PDF."
    assert problem.advice == "Export the page as PNG or JPEG."


@pytest.mark.parametrize("code", ["api_key_missing", "api_key_wrong"])
def test_missing_or_invalid_key_message_names_the_setting(code: str) -> None:
    status = 401 if code == "api_key_missing" else 403
    for describe in (errors.describe, errors.describe_history_error):
        problem = describe(BackendError(status=status, code=code))
        assert "BACKEND_API_KEY" in problem.advice
        assert "key" in problem.message or "history" in problem.message


def test_closed_history_message_says_how_to_open_it() -> None:
    problem = errors.describe_history_error(BackendError(status=401, code="api_key_missing"))
    assert problem.message == "The frontend does not have access to the backend's history."
    assert "PRISM_HISTORY_OPEN=true" in problem.advice


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (503, "draining", "The backend is restarting."),
        (503, "not_ready", "The model is still loading."),
        (404, "unknown_answer", "This classification is no longer in the history."),
        (404, "unknown_model", "The backend does not serve this model."),
        (503, "history_unavailable", "The backend cannot reach its history database."),
    ],
)
def test_message_depends_on_the_error_code(status: int, code: str, message: str) -> None:
    assert errors.describe(BackendError(status=status, code=code)).message == message


def test_damaged_image_and_empty_file_have_different_messages() -> None:
    damaged = errors.describe(BackendError(status=400, code="broken_image", detail="…"))
    empty = errors.describe(BackendError(status=400, code="empty_file", detail="…"))
    assert damaged.message == "This image is damaged."
    assert empty.message == "This file is empty."


def test_unexpected_error_includes_the_request_id() -> None:
    assert "r2" in errors.describe(BackendError(status=500, request_id="r2")).advice


@pytest.mark.parametrize(
    "error",
    [
        BackendUnreachable("http://x", timed_out=True),
        InvalidResponse("secret"),
        *(BackendError(status=s) for s in (302, 400, 403, 404, 413, 415, 422, 429, 500, 503, 504)),
    ],
)
def test_every_error_has_a_message_and_advice(error: ClientError) -> None:
    problem = errors.describe(error)
    assert problem.message.endswith(".") or isinstance(error, BackendError)
    assert problem.advice
    assert "secret" not in problem.message + problem.advice


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_image_errors_are_permanent(status: int) -> None:
    assert errors.is_permanent(BackendError(status=status))


def test_loading_model_is_temporary_and_failed_model_is_not() -> None:
    loading = errors.describe_model_state(replace(MODEL, state="loading"))
    failed = errors.describe_model_state(replace(MODEL, state="failed", error="No weights."))
    assert loading is not None
    assert loading.is_waiting
    assert failed is not None
    assert not failed.is_temporary
    assert "No weights." in failed.message
    assert errors.describe_model_state(MODEL) is None
