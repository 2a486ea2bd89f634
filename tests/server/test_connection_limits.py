"""Connection limit: whose connection is closed for a new one."""

import pytest

from backend.server.connection_limits import ConnectionLimits

NOW = 1000.0


class FakeConnection:
    """A connection whose client keeps the server waiting for `waiting` seconds."""

    def __init__(self, waiting: float | None) -> None:
        self.waiting = waiting
        self.is_evicted = False

    def waiting_seconds(self, now: float) -> float | None:
        return self.waiting

    def evict(self) -> None:
        self.is_evicted = True

    def close_if_late(self, now: float) -> None:
        """Do nothing."""


def open_connections(
    limits: ConnectionLimits, address: str, *waiting: float | None
) -> list[FakeConnection]:
    connections = [FakeConnection(seconds) for seconds in waiting]
    for connection in connections:
        assert limits.admit(connection, address, NOW)
    return connections


def evicted(connections: list[FakeConnection]) -> list[bool]:
    return [connection.is_evicted for connection in connections]


def test_longest_waiting_connection_is_replaced() -> None:
    limits = ConnectionLimits(4, 2)
    connections = open_connections(limits, "10.0.0.1", 5.0, None, 9.0, 7.0)
    open_connections(limits, "10.0.0.1", 0.0)
    assert evicted(connections) == [False, False, True, False]
    open_connections(limits, "10.0.0.1", 0.0)
    assert evicted(connections) == [False, False, True, True]


def test_connection_of_the_client_with_most_connections_is_replaced_first() -> None:
    limits = ConnectionLimits(4, 2)
    few = open_connections(limits, "10.0.0.1", 9.0)
    many = open_connections(limits, "10.0.0.2", 0.1, 0.3, 0.2)
    open_connections(limits, "10.0.0.3", 0.0)
    assert evicted(few + many) == [False, False, True, False]


@pytest.mark.parametrize("waiting", [0.1, None])
def test_client_with_most_connections_replaces_no_one_elses(waiting: float | None) -> None:
    limits = ConnectionLimits(4, 2)
    few = open_connections(limits, "10.0.0.1", 9.0)
    many = open_connections(limits, "10.0.0.2", waiting, waiting, waiting)
    assert not limits.admit(FakeConnection(0.0), "10.0.0.2", NOW)
    assert evicted(few + many) == [False] * 4


@pytest.mark.parametrize("waiting", [None, 0.5])
def test_busy_and_new_connections_of_the_same_client_keep_their_slots(
    waiting: float | None,
) -> None:
    limits = ConnectionLimits(2, 2)
    connections = open_connections(limits, "10.0.0.1", waiting, waiting)
    extra = FakeConnection(0.0)
    assert not limits.admit(extra, "10.0.0.1", NOW)
    assert evicted(connections) == [False, False]
    assert limits.over_limit == [extra]


def test_peers_are_not_clients_behind_proxies() -> None:
    limits = ConnectionLimits(3, 2, per_client=False)
    connections = open_connections(limits, "10.0.0.1", 0.5, 0.5, 0.5)
    assert not limits.admit(FakeConnection(0.0), "10.0.0.2", NOW)
    assert evicted(connections) == [False] * 3


def test_connection_that_began_to_work_since_the_scan_keeps_its_slot() -> None:
    limits = ConnectionLimits(2, 2)
    connections = open_connections(limits, "10.0.0.1", 5.0, 9.0)
    open_connections(limits, "10.0.0.1", 0.0)
    connections[0].waiting = None
    assert not limits.admit(FakeConnection(0.0), "10.0.0.1", NOW)
    assert evicted(connections) == [False, True]


def test_closed_connection_frees_its_slot() -> None:
    limits = ConnectionLimits(1, 1)
    (first,) = open_connections(limits, "10.0.0.1", None)
    limits.remove(first)
    limits.remove(first)
    open_connections(limits, "10.0.0.1", None)


def test_oldest_waiting_connection_above_the_limit_is_refused_for_a_new_one() -> None:
    limits = ConnectionLimits(1, 2)
    open_connections(limits, "10.0.0.1", None)
    working, waiting, new = FakeConnection(None), FakeConnection(0.1), FakeConnection(0.0)
    for connection in (working, waiting, new):
        assert not limits.admit(connection, "10.0.0.1", NOW)
    assert evicted([working, waiting, new]) == [False, True, False]
    assert limits.over_limit == [working, new]


def test_new_connection_is_refused_if_all_above_the_limit_are_working() -> None:
    limits = ConnectionLimits(1, 1)
    open_connections(limits, "10.0.0.1", None)
    working, new = FakeConnection(None), FakeConnection(0.0)
    for connection in (working, new):
        assert not limits.admit(connection, "10.0.0.1", NOW)
    assert evicted([working, new]) == [False, True]
    assert limits.over_limit == [working]
