"""The page Classify in several sessions that look at the same pictures."""

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from client import Client
from frontend.state.jobs import Job, Jobs
from tests.conftest import free_port
from tests.frontend.app import SEVEN, press, shown, twenty, until_read, upload
from tests.frontend.conftest import Start
from tests.pictures import encoded, seven


def tab(start: Start, url: str, other: AppTest, **query: str) -> AppTest:
    """Open another tab on the pictures of a tab."""
    return start(url, pictures=other.query_params["pictures"], **query)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """Hold up batches until this is set."""
    going, classify_batch = Event(), Client.classify_batch

    def late(self: Client, *args: Any, **options: Any) -> Any:
        assert going.wait(60)
        return classify_batch(self, *args, **options)

    monkeypatch.setattr(Client, "classify_batch", late)
    yield going
    going.set()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that are begun."""
    jobs: list[Job] = []
    begin = Jobs.start

    def noted(self: Jobs, work: Callable[[Job], Any]) -> Job:
        jobs.append(begin(self, work))
        return jobs[-1]

    monkeypatch.setattr(Jobs, "start", noted)
    return jobs


def test_two_tabs_read_the_same_pictures_by_two_models_side_by_side(
    start: Start, backend_url: str, held: Event, started: list[Job]
) -> None:
    one = upload(start(backend_url), twenty(130))
    two = tab(start, backend_url, one, model="mnist-tree")
    one.run()
    two.run()
    assert len(started) == 2
    assert not any(job.is_cancelled() for job in started)
    held.set()
    assert "20 pictures read." in shown(until_read(one))
    assert "20 pictures read." in shown(until_read(two))


def test_a_tab_goes_on_reading_what_another_began_and_gave_up(
    start: Start, backend_url: str, held: Event, started: list[Job]
) -> None:
    one = upload(start(backend_url), twenty(160))
    two = tab(start, backend_url, one)
    assert len(started) == 1
    one.sidebar.selectbox[0].select("mnist-tree").run()
    assert started[0].is_cancelled()
    two.run()
    held.set()
    assert "20 pictures read." in shown(until_read(two))


def test_a_reading_that_another_tab_stopped_is_said_to_be_ended(
    start: Start, backend_url: str, held: Event
) -> None:
    one = upload(start(backend_url), twenty(190))
    press(tab(start, backend_url, one), "Stop")
    held.set()
    assert "The reading was ended." in shown(until_read(one))
    assert "4 pictures are not read yet." in shown(one)
    press(one, "Go on")
    assert "20 pictures read." in shown(until_read(one))


def test_each_of_two_tabs_keeps_the_answers_of_its_model_while_the_backend_is_away(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = upload(start(backend_url), ("a.png", SEVEN), ("b.png", encoded(seven(80))))
    two = tab(start, backend_url, one, model="mnist-tree")
    sure = [list(app.dataframe[0].value["confidence"]) for app in (one, two)]
    assert sure[0] != sure[1]
    monkeypatch.setenv("BACKEND", f"http://127.0.0.1:{free_port()}")
    assert [list(app.run().dataframe[0].value["confidence"]) for app in (one, two)] == sure


def test_a_visitor_who_clears_leaves_the_pictures_to_their_owner(
    start: Start, backend_url: str
) -> None:
    owner = upload(start(backend_url), ("seven.png", SEVEN))
    visitor = tab(start, backend_url, owner)
    again = tab(start, backend_url, owner)
    assert "pictures" not in press(visitor, "Clear").query_params
    assert "seven.png" in shown(tab(start, backend_url, owner))
    token = owner.query_params["pictures"]
    press(owner, "Clear")
    assert "no longer kept here" in shown(start(backend_url, pictures=token))
    assert "seven.png" in shown(again.run())


def test_a_visit_to_others_pictures_leaves_what_was_told_here(
    start: Start, backend_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = upload(start(backend_url), ("other.png", encoded(seven(81))))
    app = upload(start(backend_url), ("seven.png", SEVEN))
    app.query_params["pictures"] = other.query_params["pictures"]
    assert "other.png" in shown(app.run())
    monkeypatch.setattr(Client, "classify", None)  # it is not asked again
    assert "same.png" in shown(upload(app, ("same.png", SEVEN)))
