"""Large pictures are decoded one after the other, so that memory is bounded."""

import threading

from backend.inference.images.memory_budget import Budget

WAIT = 10


def test_what_fits_goes_side_by_side_and_what_does_not_waits() -> None:
    budget = Budget(10)
    entered, release = threading.Semaphore(0), threading.Event()

    def work(units: int) -> None:
        with budget.take(units):
            entered.release()
            assert release.wait(WAIT)

    small = [threading.Thread(target=work, args=(5,)) for _ in range(2)]
    for thread in small:
        thread.start()
    assert entered.acquire(timeout=WAIT)
    assert entered.acquire(timeout=WAIT)
    late = threading.Thread(target=work, args=(1,))
    late.start()
    assert not entered.acquire(timeout=0.05)
    release.set()
    assert entered.acquire(timeout=WAIT)
    for thread in (*small, late):
        thread.join(WAIT)


def test_more_than_everything_is_everything() -> None:
    budget = Budget(10)
    with budget.take(1000):
        pass
    with budget.take(10):
        pass


def test_a_failure_gives_back_what_it_took() -> None:
    budget = Budget(1)
    for _ in range(2):
        try:
            with budget.take(1):
                raise ValueError
        except ValueError:
            pass
