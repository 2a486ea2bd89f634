"""FairQueue: order of service among clients."""

import pytest

from backend.inference.fair_queue import FairQueue


def drain(queue: FairQueue[str], count: int | None = None) -> str:
    return "".join(queue.pop() for _ in range(len(queue) if count is None else count))


def test_items_of_one_client_are_served_in_order() -> None:
    queue = FairQueue[str]()
    for item in "abc":
        queue.push(item)
    assert queue.peek() == "a"
    assert drain(queue) == "abc"
    with pytest.raises(IndexError):
        queue.pop()


def test_new_client_does_not_wait_for_the_items_of_another() -> None:
    queue = FairQueue[str]()
    for _ in range(100):
        queue.push("a", "busy")
    assert drain(queue, 50) == "a" * 50
    queue.push("b", "new")
    assert "b" in drain(queue, 2)


def test_clients_are_served_in_proportion_to_cost() -> None:
    queue = FairQueue[str]()
    for _ in range(100):
        queue.push("E", "expensive", 10.0)
        queue.push("c", "cheap", 1.0)
    served = drain(queue, 55)
    assert (served.count("E"), served.count("c")) == (5, 50)


def test_several_clients_with_expensive_items_delay_a_cheap_one_by_one_round() -> None:
    queue = FairQueue[str]()
    for address in range(8):
        for _ in range(10):
            queue.push("E", address, 10.0)
    assert drain(queue, 20) == "E" * 20
    for _ in range(10):
        queue.push("c", "cheap", 1.0)
    assert drain(queue, 18).count("c") == 10


def test_idle_client_saves_up_no_turns() -> None:
    queue = FairQueue[str]()
    queue.push("i", "idle")
    queue.pop()
    for _ in range(100):
        queue.push("b", "busy")
    drain(queue, 50)
    for _ in range(10):
        queue.push("i", "idle")
    assert drain(queue, 10).count("i") <= 6


def test_client_pays_for_what_it_used_after_its_queue_was_empty() -> None:
    """It sends its next item only when it has the result of the last one."""
    queue = FairQueue[str]()
    for _ in range(20):
        queue.push("b", "busy")
    served = ""
    for _ in range(20):
        queue.push("E", "expensive", 10.0)
        served += drain(queue, 1)
        while "E" not in served[-1]:
            served += drain(queue, 1)
        if served.count("b") == 20:
            break
    assert served.count("E") <= 4


def test_charge_corrects_an_estimate() -> None:
    queue = FairQueue[str]()
    for _ in range(20):
        queue.push("l", "liar", 0.1)
        queue.push("h", "honest", 1.0)
    served = ""
    while "h" not in served or len(served) < 11:
        served += (item := queue.pop())
        if item == "l":
            queue.charge("liar", 9.9)
    assert served.count("l") <= 2


def test_dropped_items_are_not_charged() -> None:
    queue = FairQueue[str]()
    queue.push("x", "dropped", 100.0)
    queue.push("d", "dropped")
    for _ in range(5):
        queue.push("o", "other")
    assert queue.pop(free=True) == "x"
    assert "d" in drain(queue, 2)


def test_discarded_items_leave_the_queue() -> None:
    queue = FairQueue[str]()
    for item in "axbxc":
        queue.push(item, "ab" if item in "ab" else "xc")
    queue.discard(lambda item: item == "x")
    assert len(queue) == 3
    assert sorted(queue) == ["a", "b", "c"]
    assert sorted(drain(queue)) == ["a", "b", "c"]


def test_clients_that_came_once_are_forgotten() -> None:
    queue = FairQueue[str]()
    for address in range(5_000):
        queue.push("x", address)
        queue.pop()
    assert len(queue._flows) <= 1_001
