"""Requests of the client for the shadow of a taught model."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from client import BackendError, Client, InvalidResponse, Shadow, ShadowAgreement, ShadowMedians
from client.shadow import ShadowCorrected
from tests.client.fake_server import FakeResponse, serving

SHADOW: dict[str, Any] = {
    "model": "ants",
    "version": 3,
    "active": 2,
    "share": 0.5,
    "since": "2026-03-01T10:00:00Z",
    "images": 40,
    "agreement": {"value": 0.9, "low": 0.77, "high": 0.96},
    "confidence": {"active": 0.8, "shadow": 0.85},
    "milliseconds": {"active": 12.5, "shadow": 13},
    "corrected": {
        "images": 7,
        "both_right": 2,
        "only_active_right": 1,
        "only_shadow_right": 3,
        "both_wrong": 1,
        "p_value": 0.625,
    },
    "unknown field": 1,
}


def answer(value: object, status: int = 200) -> FakeResponse:
    return FakeResponse(json.dumps(value).encode(), status)


def test_shadow_is_returned_with_its_results() -> None:
    with serving(answer(SHADOW)) as (url, received), Client(url) as client:
        shadow = client.shadow("my ants")
    assert shadow == Shadow(
        model="ants",
        version=3,
        active=2,
        share=0.5,
        since=datetime(2026, 3, 1, 10, tzinfo=UTC),
        images=40,
        agreement=ShadowAgreement(0.9, 0.77, 0.96),
        confidence=ShadowMedians(0.8, 0.85),
        milliseconds=ShadowMedians(12.5, 13),
        corrected=ShadowCorrected(7, 2, 1, 3, 1, 0.625),
    )
    assert (received[0].method, received[0].path) == ("GET", "/models/my%20ants/shadow")


def test_shadow_without_images_has_no_results() -> None:
    empty = {"active": None, "shadow": None}
    body = SHADOW | {
        "images": 0,
        "agreement": {"value": None, "low": None, "high": None},
        "confidence": empty,
        "milliseconds": empty,
    }
    with serving(answer(body)) as (url, _), Client(url) as client:
        shadow = client.shadow("ants")
    assert shadow is not None
    assert shadow.agreement == ShadowAgreement(None, None, None)
    assert shadow.confidence == shadow.milliseconds == ShadowMedians(None, None)


def test_no_shadow_is_none_but_an_unknown_model_is_an_error() -> None:
    problem = {"status": 404, "code": "no_shadow", "detail": "The model has no shadow."}
    with serving(answer(problem, 404)) as (url, _), Client(url) as client:
        assert client.shadow("ants") is None
    problem = {"status": 404, "code": "unknown_model", "detail": "There is no such model."}
    with (
        serving(answer(problem, 404)) as (url, _),
        Client(url) as client,
        pytest.raises(BackendError) as caught,
    ):
        client.shadow("ants")
    assert caught.value.code == "unknown_model"


def test_shadow_is_set_and_removed() -> None:
    with serving(answer(SHADOW)) as (url, received), Client(url) as client:
        assert client.set_shadow("ants", 3, 0.5).version == 3
        client.set_shadow("ants", 3)
        client.remove_shadow("ants")
    assert [(request.method, request.path) for request in received] == [
        ("PUT", "/models/ants/shadow"),
        ("PUT", "/models/ants/shadow"),
        ("DELETE", "/models/ants/shadow"),
    ]
    bodies = [json.loads(request.body) for request in received[:2]]
    assert bodies == [{"version": 3, "share": 0.5}, {"version": 3, "share": 1.0}]


@pytest.mark.parametrize("change", [{"agreement": 1}, {"corrected": {}}, {"since": "today"}])
def test_invalid_shadow_raises_invalid_response(change: dict[str, Any]) -> None:
    with (
        serving(answer(SHADOW | change)) as (url, _),
        Client(url) as client,
        pytest.raises(InvalidResponse),
    ):
        client.shadow("ants")
