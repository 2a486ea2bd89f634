"""Jobs that are found again after a restart of the page's process."""

import logging
import threading
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from frontend.state import kept_jobs, page_jobs, page_store
from frontend.state.jobs import Job, Jobs
from frontend.state.kept_jobs import Kind
from frontend.state.packing import pack, unpack
from frontend.state.page_store import PageStore
from frontend.state.stored_result import StoredResult, StoreError
from tests.frontend.state.test_jobs import endless, failing, wait_for

WORDS = Kind("words", pack, lambda content: unpack(content, str))


def run(jobs: Jobs, work: Callable[[Job], object]) -> Job:
    return jobs.start(work, kept_jobs.keeper(WORDS, "Pets on pets.zip"))


def wait_for_state(store: PageStore, job: Job, state: str) -> StoredResult:
    pause = threading.Event()
    for _ in range(2000):
        if (found := store.find(job.token, "words")) and found.state == state:
            return found
        pause.wait(0.005)
    raise AssertionError(f"{job.token} is not {state}")


def page() -> None:
    import streamlit as st

    from frontend.state import page_jobs
    from tests.frontend.state.test_kept_jobs import WORDS

    job = page_jobs.current("reading", WORDS)
    st.markdown(str(job.result if job else None))


def show(token: str) -> AppTest:
    app = AppTest.from_function(page, default_timeout=20)
    app.query_params["reading"] = token
    return app.run()


def test_without_a_store_nothing_is_kept() -> None:
    assert kept_jobs.keeper(WORDS, "Pets") is None
    assert kept_jobs.find(WORDS, "a") is None
    kept_jobs.delete("a")


def test_job_is_stored_while_it_runs_and_when_it_is_done(
    store: PageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_jobs, "REPORT_INTERVAL", 0.01)
    goes_on = threading.Event()

    def work(job: Job) -> str:
        job.advance(3, 4)
        assert goes_on.wait(20)
        return "the result"

    job = run(Jobs(), work)
    running = wait_for_state(store, job, "running")
    while running.done != 3:
        running = wait_for_state(store, job, "running")
    assert running == StoredResult("running", "Pets on pets.zip", 3, 4)
    goes_on.set()
    done = wait_for_state(store, job, "done")
    assert WORDS.unpack(done.content or b"") == "the result"


def test_failed_job_is_stored_as_such(store: PageStore) -> None:
    assert wait_for_state(store, run(Jobs(), failing), "failed").content is None


def test_end_of_the_process_stores_partial_results(store: PageStore) -> None:
    jobs = Jobs()

    def partial(job: Job) -> str:
        job.advance(3, 4)
        return endless(job)

    running = [run(jobs, partial), run(jobs, partial)]
    for job in running:
        while job.done != 3:
            threading.Event().wait(0.005)
    waiting = run(jobs, endless)
    jobs.interrupt(20)
    assert all(job.is_interrupted for job in (*running, waiting))
    for job in running:
        found = store.find(job.token, "words")
        assert found is not None
        assert (found.state, found.content) == ("done", pack("stopped"))
    found = store.find(waiting.token, "words")
    assert found is not None
    assert found.state == "interrupted"


def test_discarded_job_is_not_stored(store: PageStore) -> None:
    jobs = Jobs()
    job = run(jobs, endless)
    wait_for_state(store, job, "running")
    jobs.discard(job.token)
    assert job.wait(20)
    wait_for_state(store, job, "running")  # its end is not stored
    kept_jobs.delete(job.token)
    assert store.find(job.token, "words") is None


def test_job_that_is_discarded_while_it_is_stored_is_deleted(
    store: PageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs()
    put = PageStore.put

    def discard_and_put(self: PageStore, token: str, kind: str, result: StoredResult) -> None:
        if result.state == "done":
            jobs.discard(token)
            kept_jobs.delete(token)
        put(self, token, kind, result)

    monkeypatch.setattr(PageStore, "put", discard_and_put)
    job = run(jobs, lambda _: "the result")
    assert job.wait(20)
    assert store.find(job.token, "words") is None


def test_store_that_fails_leaves_the_result_in_memory(
    store: PageStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("OperationalError")

    monkeypatch.setattr(PageStore, "put", refuse)
    with caplog.at_level(logging.WARNING, "prism.jobs"):
        job = wait_for(run(Jobs(), lambda _: "the result"))
        assert job.wait(20)
    assert job.result == "the result"
    assert "a job cannot be stored: OperationalError" in caplog.text


def test_result_is_restored_once(store: PageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("restored", "words", StoredResult("done", "Pets", content=pack("the result")))
    assert show("restored").markdown[0].value == "the result"
    store.delete("restored")
    assert show("restored").markdown[0].value == "the result"  # from memory
    page_jobs.jobs().discard("restored")


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        (StoredResult("interrupted", "Pets", 120, 300), "Pets was interrupted after 120 of 300"),
        (StoredResult("interrupted", "Pets"), "Pets was interrupted: the server of this page"),
        (StoredResult("failed", "Pets"), "Pets failed unexpectedly. Start again."),
        (StoredResult("done", "Pets", content=b"of another version"), "has expired"),
        (None, "has expired"),
    ],
)
def test_state_of_a_job_without_a_result_is_shown(
    store: PageStore, stored: StoredResult | None, text: str
) -> None:
    if stored:
        store.put("a", "words", stored)
    app = show("a")
    shown = [*app.warning, *app.error, *app.info]
    assert len(shown) == 1
    assert text in shown[0].value
    assert app.markdown[0].value == "None"


def test_job_of_another_process_is_watched_until_its_result_is_there(store: PageStore) -> None:
    store.put("a", "words", StoredResult("running", "Pets", 120, 300))
    app = show("a")
    progress = app.get("progress")[0].proto.text
    assert progress == "Pets: 120 of 300 images. Waiting for the instance that runs it."
    store.put("a", "words", StoredResult("done", "Pets", content=pack("the result")))
    assert app.run().markdown[0].value == "the result"
    page_jobs.jobs().discard("a")


def test_job_of_another_process_that_is_discarded_is_no_longer_watched(
    store: PageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([StoredResult("running", "Pets", 120, 300)])
    monkeypatch.setattr(PageStore, "find", lambda *_: next(found, None))
    app = show("a")
    assert not app.get("progress")
    assert "has expired" in app.info[0].value


def test_job_of_a_killed_process_is_interrupted(
    store: PageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", "words", StoredResult("running", "Pets", 120, 300))
    monkeypatch.setattr(page_store, "STALE_AFTER", -1.0)
    assert "Uploaded files are not kept" in show("a").warning[0].value


def test_store_that_cannot_be_read_is_reported(
    store: PageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("OperationalError")

    monkeypatch.setattr(PageStore, "find", refuse)
    assert "cannot be read at the moment" in show("a").error[0].value
