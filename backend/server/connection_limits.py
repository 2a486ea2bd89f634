"""Which connections are open: their limit, and whose connection is closed for a new one.

When all slots are taken, a new connection replaces the one that has kept the server waiting for
the longest time, of the client that holds the most connections. A client is a peer's address.
"""

from collections import Counter
from typing import Final, Protocol

from backend.api.clients import client_at

_STALE_SECONDS: Final = 1.0  # a client that kept the server waiting for less keeps its slot,
# unless the client holds more connections than the one that replaces it.
_SCAN_INTERVAL: Final = 0.25  # seconds


class LimitedConnection(Protocol):
    """A connection with a slot, or above the limit."""

    def waiting_seconds(self, now: float) -> float | None:
        """Return how long the server has waited for the client; None while it works for it."""

    def evict(self) -> None:
        """Close the connection, with a response if a request has begun."""

    def close_if_late(self, now: float) -> None:
        """Close the connection if the client has kept the server waiting for too long."""


class ConnectionLimits:
    """The open connections of one server."""

    def __init__(
        self, max_connections: int, max_over_limit: int, *, per_client: bool = True
    ) -> None:
        """With `per_client=False` the peers are proxies, so no client has a share of its own."""
        self._max_connections = max_connections
        self._max_over_limit = max_over_limit
        self._per_client = per_client
        self._admitted: dict[LimitedConnection, str] = {}
        self._counts: Counter[str] = Counter()
        self._over_limit: dict[LimitedConnection, None] = {}
        self._candidates: list[LimitedConnection] = []  # the next to be replaced is the last
        self._scanned_at = 0.0

    def admit(self, connection: LimitedConnection, address: str, now: float) -> bool:
        """Return whether a new connection has a slot; replace another connection if necessary."""
        client = client_at(address) if self._per_client else ""
        if len(self._admitted) >= self._max_connections:
            victim = self._find_victim(client, now)
            if victim is None:
                self._add_over_limit(connection, now)
                return False
            self.remove(victim)
            victim.evict()
        self._admitted[connection] = client
        self._counts[client] += 1
        return True

    def remove(self, connection: LimitedConnection) -> None:
        """Forget a connection that is closed, if it is known."""
        self._over_limit.pop(connection, None)
        client = self._admitted.pop(connection, None)
        if client is None:
            return
        self._counts[client] -= 1
        if not self._counts[client]:
            del self._counts[client]

    @property
    def over_limit(self) -> list[LimitedConnection]:
        """The connections without a slot, oldest first."""
        return list(self._over_limit)

    def _add_over_limit(self, connection: LimitedConnection, now: float) -> None:
        if len(self._over_limit) >= self._max_over_limit:
            waiting = (one for one in self._over_limit if one.waiting_seconds(now) is not None)
            victim = next(waiting, connection)
            self.remove(victim)
            victim.evict()
            if victim is connection:
                return
        self._over_limit[connection] = None

    def _find_victim(self, client: str, now: float) -> LimitedConnection | None:
        """Return the connection to replace for a new one of `client`, if there is one."""
        if now - self._scanned_at >= _SCAN_INTERVAL:
            self._scan(now)
        while self._candidates:
            candidate = self._candidates[-1]
            waiting = candidate.waiting_seconds(now) if candidate in self._admitted else None
            if waiting is None:
                self._candidates.pop()
                continue
            surplus = self._counts[self._admitted[candidate]] - self._counts[client]
            if surplus > 1 or (surplus >= 0 and waiting > _STALE_SECONDS):
                return self._candidates.pop()
            break
        return None

    def _scan(self, now: float) -> None:
        """List the connections that may be replaced; a scan takes about 1 ms."""
        self._scanned_at = now
        ranked = [
            (self._counts[client], waiting, number, connection)
            for number, (connection, client) in enumerate(self._admitted.items())
            if (waiting := connection.waiting_seconds(now)) is not None
        ]
        ranked.sort()
        self._candidates = [connection for *_, connection in ranked]
