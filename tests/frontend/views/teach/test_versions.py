"""Versions of taught models on the Teach page: activate, roll back, shadow, delete, compare."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from client import (
    Classification,
    Client,
    HistoryPage,
    ModelRef,
    StoredClassification,
    Timings,
)
from client.history import History
from frontend.datasets.checked_images import is_held_out
from frontend.service import teaching
from frontend.views.teach.again import summarize
from frontend.views.teach.again_job import VersionComparison
from tests.client.fake_server import FakeResponse, serving
from tests.frontend.app import click, models_response, page_text, wait_for_jobs
from tests.frontend.conftest import OpenPage
from tests.frontend.views.teach.fakes import FakeRegistry, fake_teach, registry
from tests.images import encoded, seven

__all__ = ["registry"]

TEACH = "views/teach/page.py"
NAME = "letters"
LABELS = ("a", "b")
IMAGES = [encoded(seven(40 + i)) for i in range(40)]


def taught_response() -> FakeResponse:
    body = json.loads(models_response(photos="image", letters="image").body)
    body["models"][1] |= {"taught": True, "labels": list(LABELS)}
    return FakeResponse(json.dumps(body).encode())


@pytest.fixture
def backend() -> Iterator[str]:
    """The URL of a backend that serves the photo model and a taught one."""
    with serving(taught_response()) as (url, _):
        yield url


@pytest.fixture
def stored(registry: FakeRegistry) -> FakeRegistry:
    """A registry with three versions, of which the second is active, and the first was before."""
    for number in (1, 2, 3):
        registry.put_model(
            NAME, {"labels": LABELS}, b"", reason=f"reason {number}", activate=number < 3
        )
    return registry


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[StoredClassification]:
    """A history of checked answers: every fourth was wrong."""
    items = [stored_classification(n) for n in range(len(IMAGES))]
    monkeypatch.setattr(History, "page", lambda *_, **__: HistoryPage(tuple(items), None))
    monkeypatch.setattr(History, "image", lambda _, item: IMAGES[int(item)])
    return items


def stored_classification(number: int) -> StoredClassification:
    label = LABELS[number % 2]
    other = LABELS[1 - number % 2]
    time = datetime(2026, 1, 1, tzinfo=UTC)
    return StoredClassification(
        id=str(number),
        time=time,
        model=ModelRef(NAME, "2"),
        prediction=other if number % 4 == 0 else label,
        confidence=0.8,
        top=(),
        prediction_set=None,
        coverage=None,
        in_distribution=True,
        ood_score=None,
        timings=Timings(0, 0, 0),
        sha256="",
        filename=f"{number}.png",
        image=True,
        correction=label,
        corrected_at=time,
    )


def open_page(start: OpenPage, url: str, **query: str) -> AppTest:
    return start(url, **query).switch_page(TEACH).run()


def classify_batch(right: dict[str, bool]) -> Any:
    """Return a `classify_batch` of which the versions in `right` answer rightly or wrongly."""

    def classify(_: Client, images: Sequence[tuple[str, bytes]], **options: Any) -> Any:
        assert options["store"] is False
        for _name, content in images:
            label = LABELS[IMAGES.index(content) % 2]
            version = options["model"].partition("@")[2]
            wrong = LABELS[1 - LABELS.index(label)]
            yield Classification(
                "1", None, ModelRef(NAME, version), label if right[version] else wrong, 0.9, (),
                None, None, None, True, False, Timings(0, 0, 0),
            )  # fmt: skip

    return classify


def test_version_that_was_active_before_is_one_click_away(
    start: OpenPage, backend: str, stored: FakeRegistry
) -> None:
    app = open_page(start, backend)
    click(app, "Roll back")
    assert stored.active == 1
    click(app, "Roll back")
    assert stored.active == 2


def test_version_is_activated(start: OpenPage, backend: str, stored: FakeRegistry) -> None:
    click(open_page(start, backend), "Activate")
    assert stored.active == 3


def test_version_is_deleted(start: OpenPage, backend: str, stored: FakeRegistry) -> None:
    app = open_page(start, backend)
    app.button(key="delete letters 3").click().run()
    text = page_text(app)
    assert "reason 3" not in text
    assert "reason 2" in text


def test_model_is_deleted(start: OpenPage, backend: str, stored: FakeRegistry) -> None:
    app = open_page(start, backend)
    app.button(key="delete letters").click().run()
    assert not stored.stored


def test_shadow_is_started_compared_and_stopped(
    start: OpenPage, backend: str, stored: FakeRegistry
) -> None:
    app = open_page(start, backend)
    app.selectbox(key="share letters 3").set_value(0.2).run()
    app.button(key="shadow letters 3").click().run()
    assert stored.current is not None
    assert (stored.current.version, stored.current.share) == (3, 0.2)
    text = page_text(app)
    assert "Compared with version 2 on 40 images" in text
    assert "95% interval of the same prediction: 77% to 96%." in text
    assert "Only version 2 is right on 1 image, only version 3 on 9." in text
    assert "Version 3 is better on images like these (McNemar's test, p = 0.03)." in text
    assert ("Confidence (3 / 2)", "93% / 81%") in [(one.label, one.value) for one in app.metric]
    click(app, "Stop shadow")
    assert stored.current is None


def test_feedback_becomes_a_version_that_is_compared_but_not_served(
    start: OpenPage,
    backend: str,
    stored: FakeRegistry,
    checked: list[StoredClassification],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[bytes] = []

    def teach(client: Client, images: Any, cache: Any, name: str, job: Any, version: int) -> Any:
        assert version == 2
        trained.extend(file.content for _, file in images)
        return fake_teach(client, images, cache, name, job)

    monkeypatch.setattr(teaching, "teach", teach)
    monkeypatch.setattr(Client, "classify_batch", classify_batch({"2": False, "4": True}))
    app = wait_for_jobs(click(open_page(start, backend), "Teach from feedback"))
    held_out = [image for image in IMAGES if is_held_out(image)]
    assert 0 < len(held_out) < len(IMAGES) / 2
    assert set(trained) == set(IMAGES) - set(held_out)
    assert stored.active == 2
    text = page_text(app) + app.success[0].value.replace("\\", "")
    assert "Version 4 of letters is stored. It is not served yet." in text
    assert f"only version 4 on {len(held_out)}." in text
    assert [one.value for one in app.metric] == ["0%", "100%"]
    query = {"again": app.query_params["again"]}
    assert "only version 4" in page_text(open_page(start, backend, **query))
    app.button(key="activate letters 4").click().run()
    assert stored.active == 4


def test_stored_version_is_compared_on_checked_images(
    start: OpenPage,
    backend: str,
    stored: FakeRegistry,
    checked: list[StoredClassification],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Client, "classify_batch", classify_batch({"2": True, "3": True}))
    app = open_page(start, backend)
    app = wait_for_jobs(app.button(key="compare letters 3").click().run())
    assert "Both versions are right on the same images." in page_text(app)
    assert len(stored.stored) == 3


def test_missing_checked_images_are_explained(
    start: OpenPage, backend: str, stored: FakeRegistry, checked: list[StoredClassification]
) -> None:
    checked[:] = [replace(one, image=False) for one in checked]
    app = wait_for_jobs(click(open_page(start, backend), "Teach from feedback"))
    assert "The history has no checked images of this model." in page_text(app)
    assert len(stored.stored) == 3


def test_teaching_from_feedback_can_be_stopped(
    start: OpenPage,
    backend: str,
    stored: FakeRegistry,
    checked: list[StoredClassification],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def teach(*arguments: Any, **_: Any) -> Any:
        job = arguments[4]
        job.stop.wait()
        raise teaching.TeachingCanceledError

    monkeypatch.setattr(teaching, "teach", teach)
    app = click(open_page(start, backend), "Teach from feedback")
    app = wait_for_jobs(click(app, "Stop"))
    assert "Stopped. Nothing was changed." in page_text(app)
    assert len(stored.stored) == 3


def test_few_held_out_images_prove_nothing() -> None:
    text = summarize(VersionComparison(both=1, only_old=0, only_new=2, neither=0, wrong=3), 1, 2)
    assert "These are too few to say which is better (McNemar's test, p = 0.5)." in text
    assert "A comparison on fewer than 10 images is uncertain" in text
    assert "The answer to all these images was wrong" in text
