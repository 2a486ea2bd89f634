"""The Classify page in several sessions with the same images."""

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from client import Client
from frontend.state.jobs import Job, Jobs
from tests.conftest import free_port
from tests.frontend.app import SEVEN, click, page_text, upload_files, wait_for_jobs, zip_of_sevens
from tests.frontend.conftest import OpenPage
from tests.images import encoded, seven


def tab(start: OpenPage, url: str, other: AppTest, **query: str) -> AppTest:
    """Open the images of a tab in another tab."""
    return start(url, pictures=other.query_params["pictures"], **query)


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """Block batches until the event is set."""
    release, classify_batch = Event(), Client.classify_batch

    def blocked(self: Client, *args: Any, **options: Any) -> Any:
        assert release.wait(60)
        return classify_batch(self, *args, **options)

    monkeypatch.setattr(Client, "classify_batch", blocked)
    yield release
    release.set()


@pytest.fixture
def started_jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The started jobs."""
    jobs: list[Job] = []
    start_job = Jobs.start

    def record(self: Jobs, work: Callable[[Job], Any]) -> Job:
        jobs.append(start_job(self, work))
        return jobs[-1]

    monkeypatch.setattr(Jobs, "start", record)
    return jobs


def test_two_tabs_classify_the_same_images_with_two_models(
    start: OpenPage, backend_url: str, release: Event, started_jobs: list[Job]
) -> None:
    one = upload_files(start(backend_url), zip_of_sevens(130))
    two = tab(start, backend_url, one, model="mnist-tree")
    one.run()
    two.run()
    assert len(started_jobs) == 2
    assert not any(job.is_cancelled() for job in started_jobs)
    release.set()
    assert "20 images: 20 recognized." in page_text(wait_for_jobs(one))
    assert "20 images: 20 recognized." in page_text(wait_for_jobs(two))


def test_tab_continues_a_job_that_another_tab_abandoned(
    start: OpenPage, backend_url: str, release: Event, started_jobs: list[Job]
) -> None:
    one = upload_files(start(backend_url), zip_of_sevens(160))
    two = tab(start, backend_url, one)
    assert len(started_jobs) == 1
    one.sidebar.selectbox[0].select("mnist-tree").run()
    assert started_jobs[0].is_cancelled()
    two.run()
    release.set()
    assert "20 images: 20 recognized." in page_text(wait_for_jobs(two))


def test_job_stopped_in_another_tab_is_reported(
    start: OpenPage, backend_url: str, release: Event
) -> None:
    one = upload_files(start(backend_url), zip_of_sevens(190))
    click(tab(start, backend_url, one), "Stop")
    release.set()
    assert "Classification was stopped." in page_text(wait_for_jobs(one))
    assert "4 images are not classified yet." in page_text(one)
    click(one, "Continue")
    assert "20 images: 20 recognized." in page_text(wait_for_jobs(one))


def test_tabs_keep_the_results_of_their_model_while_the_backend_is_unreachable(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = upload_files(start(backend_url), ("a.png", SEVEN), ("b.png", encoded(seven(80))))
    two = tab(start, backend_url, one, model="mnist-tree")
    headlines = [[one.value for one in app.header] for app in (one, two)]
    assert headlines[0] != headlines[1]
    monkeypatch.setenv("BACKEND", f"http://127.0.0.1:{free_port()}")
    assert [[one.value for one in app.run().header] for app in (one, two)] == headlines


def test_clear_keeps_the_images_of_another_session(start: OpenPage, backend_url: str) -> None:
    owner = upload_files(start(backend_url), ("seven.png", SEVEN))
    visitor = tab(start, backend_url, owner)
    again = tab(start, backend_url, owner)
    assert "pictures" not in click(visitor, "Clear").query_params
    assert "seven.png" in page_text(tab(start, backend_url, owner))
    token = owner.query_params["pictures"]
    click(owner, "Clear")
    assert "These images have expired." in page_text(start(backend_url, pictures=token))
    assert "seven.png" in page_text(again.run())


def test_visiting_another_selection_keeps_the_own_results(
    start: OpenPage, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = upload_files(start(backend_url), ("other.png", encoded(seven(81))))
    app = upload_files(start(backend_url), ("seven.png", SEVEN))
    app.query_params["pictures"] = other.query_params["pictures"]
    assert "other.png" in page_text(app.run())
    monkeypatch.setattr(Client, "classify", None)  # no second request
    assert "same.png" in page_text(upload_files(app, ("same.png", SEVEN)))
