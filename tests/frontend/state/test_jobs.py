"""Background jobs."""

import threading
import time
import weakref

import pytest

from frontend.state import jobs
from frontend.state.jobs import BusyError, Job, Jobs


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def wait_for(job: Job) -> Job:
    """Wait until a job is finished."""
    end = time.monotonic() + 20
    while not job.is_finished:
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


class Resource:
    """A result with a close method."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


def test_job_is_found_by_its_token() -> None:
    registry = Jobs()
    job = wait_for(registry.start(counting))
    assert registry.find(job.token) is job
    assert (job.state, job.done, job.total, job.result) == ("done", 3, 4, "counted")
    assert registry.find("another") is None
    assert registry.find(None) is None


def test_cancelled_job_returns_its_partial_result() -> None:
    job = Jobs().start(endless)
    job.cancel()
    assert wait_for(job).result == "stopped"


def test_job_that_raises_has_failed() -> None:
    job = wait_for(Jobs().start(failing))
    assert job.state == "failed"
    assert isinstance(job.error, ValueError)


def test_concurrency_is_limited_and_waiting_job_can_be_cancelled() -> None:
    registry = Jobs()
    running = [registry.start(endless) for _ in range(jobs.MAX_RUNNING)]
    last = registry.start(counting)
    assert last.state == "waiting"
    running[0].cancel()
    assert wait_for(last).result == "counted"
    waiting = [registry.start(endless), registry.start(endless)]
    waiting[1].cancel()
    assert wait_for(waiting[1]).result == "stopped"
    for job in (*running, *waiting):
        job.cancel()
        wait_for(job)


def test_job_without_access_is_cancelled() -> None:
    clock = Clock()
    registry = Jobs(clock)
    job = registry.start(endless)
    clock.now = jobs.ABANDON_AFTER - 1
    registry.find(job.token)
    clock.now = jobs.ABANDON_AFTER + 1
    assert not job.is_cancelled()
    clock.now = 2 * jobs.ABANDON_AFTER
    assert wait_for(job).result == "stopped"


def test_result_without_access_expires_and_is_closed() -> None:
    clock = Clock()
    registry = Jobs(clock)
    resource = Resource()
    job = wait_for(registry.start(lambda _: resource))
    clock.now = jobs.EXPIRE_AFTER + 1
    assert registry.find(job.token) is None
    assert resource.closed.is_set()


def test_result_expires_on_an_idle_server() -> None:
    clock = Clock()
    registry = Jobs(clock, expiry_interval=0.01)
    resource = Resource()
    wait_for(registry.start(lambda _: resource))
    clock.now = jobs.EXPIRE_AFTER + 1
    assert resource.closed.wait(10)


def test_finished_job_frees_the_objects_of_its_work() -> None:
    resource = Resource()
    reference = weakref.ref(resource)

    def start(resource: Resource) -> Job:
        return Jobs().start(lambda _: str(resource))

    job = wait_for(start(resource))
    del resource
    assert reference() is None
    assert job.state == "done"


def test_discarded_job_closes_its_result_when_it_finishes() -> None:
    registry = Jobs()
    resource = Resource()

    def work(job: Job) -> Resource:
        job.stop.wait()
        return resource

    job = registry.start(work)
    registry.discard(job.token)
    assert registry.find(job.token) is None
    assert resource.closed.wait(10)


def test_oldest_result_is_evicted_and_running_jobs_are_not() -> None:
    clock = Clock()
    registry = Jobs(clock)
    first = wait_for(registry.start(counting))
    clock.now = 1.0
    second = wait_for(registry.start(counting))
    others = [registry.start(endless) for _ in range(jobs.MAX_JOBS - 2)]
    others.append(registry.start(endless))
    assert registry.find(first.token) is None
    assert registry.find(second.token) is second
    others.append(registry.start(endless))
    with pytest.raises(BusyError):
        registry.start(counting)
    for job in others:
        job.cancel()
        wait_for(job)
