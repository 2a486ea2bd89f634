"""Long work in threads of its own."""

import threading
import time
import weakref

import pytest

from frontend.state import jobs
from frontend.state.jobs import BusyError, Job, Jobs


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def over(job: Job) -> Job:
    """Wait for the end of a job."""
    end = time.monotonic() + 20
    while not job.is_over:
        assert time.monotonic() < end, f"the job is still {job.state}"
        time.sleep(0.005)
    return job


def counting(job: Job) -> str:
    job.advance(3, 4)
    return "counted"


def endless(job: Job) -> str:
    while not job.is_cancelled():
        job.stop.wait(0.005)
    return "stopped"


def failing(job: Job) -> str:
    raise ValueError("no")


class Held:
    """A result that has to be given back."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


def test_a_job_is_found_by_its_token_with_its_progress_and_its_result() -> None:
    kept = Jobs()
    job = over(kept.start(counting))
    assert kept.find(job.token) is job
    assert (job.state, job.done, job.total, job.result) == ("done", 3, 4, "counted")
    assert kept.find("another") is None
    assert kept.find(None) is None


def test_a_cancelled_job_ends_with_what_it_has() -> None:
    job = Jobs().start(endless)
    job.cancel()
    assert over(job).result == "stopped"


def test_a_job_that_raises_has_failed() -> None:
    job = over(Jobs().start(failing))
    assert job.state == "failed"
    assert isinstance(job.error, ValueError)


def test_only_so_many_run_at_once_and_one_that_waits_can_be_cancelled() -> None:
    kept = Jobs()
    running = [kept.start(endless) for _ in range(jobs.AT_ONCE)]
    last = kept.start(counting)
    assert last.state == "waiting"
    running[0].cancel()
    assert over(last).result == "counted"
    waiting = [kept.start(endless), kept.start(endless)]
    waiting[1].cancel()
    assert over(waiting[1]).result == "stopped"
    for job in (*running, *waiting):
        job.cancel()
        over(job)


def test_work_that_nobody_looks_at_is_given_up() -> None:
    clock = Clock()
    kept = Jobs(clock)
    job = kept.start(endless)
    clock.now = jobs.ABANDONED - 1
    kept.find(job.token)
    clock.now = jobs.ABANDONED + 1
    assert not job.is_cancelled()
    clock.now = 2 * jobs.ABANDONED
    assert over(job).result == "stopped"


def test_a_result_that_nobody_looks_at_is_forgotten_and_closed() -> None:
    clock = Clock()
    kept = Jobs(clock)
    held = Held()
    job = over(kept.start(lambda _: held))
    clock.now = jobs.FORGOTTEN + 1
    assert kept.find(job.token) is None
    assert held.closed.is_set()


def test_a_result_is_forgotten_on_a_quiet_server_too() -> None:
    clock = Clock()
    kept = Jobs(clock, tidy_every=0.01)
    held = Held()
    over(kept.start(lambda _: held))
    clock.now = jobs.FORGOTTEN + 1
    assert held.closed.wait(10)


def test_what_the_work_held_on_to_goes_with_it() -> None:
    held = Held()
    gone = weakref.ref(held)

    def start(what: Held) -> Job:
        return Jobs().start(lambda _: str(what))

    job = over(start(held))
    del held
    assert gone() is None
    assert job.state == "done"


def test_what_is_forgotten_while_it_runs_is_closed_at_its_end() -> None:
    kept = Jobs()
    held = Held()

    def work(job: Job) -> Held:
        job.stop.wait()
        return held

    job = kept.start(work)
    kept.forget(job.token)
    assert kept.find(job.token) is None
    assert held.closed.wait(10)


def test_the_oldest_result_makes_room_and_running_work_does_not() -> None:
    clock = Clock()
    kept = Jobs(clock)
    first = over(kept.start(counting))
    clock.now = 1.0
    second = over(kept.start(counting))
    others = [kept.start(endless) for _ in range(jobs.MOST - 2)]
    others.append(kept.start(endless))
    assert kept.find(first.token) is None
    assert kept.find(second.token) is second
    others.append(kept.start(endless))
    with pytest.raises(BusyError):
        kept.start(counting)
    for job in others:
        job.cancel()
        over(job)
