"""Queue that serves its clients in proportion, by the cost of their items."""

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_MAX_IDLE: Final = 1_000  # clients without queued items whose use is remembered


@dataclass(slots=True)
class _Flow(Generic[T]):
    items: deque[tuple[T, float]] = field(default_factory=deque)
    used: float = 0.0  # cost served so far, in the queue's virtual time


class FairQueue(Generic[T]):
    """First in, first out for each client; of several clients, the one that used least is next.

    This is start-time fair queueing (Goyal, Vin and Cheng 1996): a client's use is the cost of the
    items it has been served. A client that was idle starts at the least use of the active ones: it
    neither saves up nor pays for time in which nobody waited. Not thread-safe.
    """

    def __init__(self) -> None:
        self._flows: dict[Hashable, _Flow[T]] = {}
        self._order: list[tuple[float, int, Hashable]] = []  # heap of the clients with items
        self._time = 0.0  # use of the client served last
        self._pushed = 0  # ties are broken by arrival
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        """Yield all items, not in the order in which they are served."""
        for flow in self._flows.values():
            for item, _ in flow.items:
                yield item

    def push(self, item: T, client: Hashable = "", cost: float = 1.0) -> None:
        """Add an item at the end of its client's items."""
        flow = self._flows.get(client)
        if flow is None:
            if len(self._flows) - len(self._order) >= _MAX_IDLE:
                self._flows = {key: each for key, each in self._flows.items() if each.items}
            flow = self._flows[client] = _Flow()
        flow.items.append((item, cost))
        self._length += 1
        if len(flow.items) == 1:
            flow.used = max(flow.used, self._time)
            self._schedule(client, flow)

    def peek(self) -> T:
        """Return the next item; raise IndexError if the queue is empty."""
        return self._flows[self._order[0][2]].items[0][0]

    def pop(self, *, free: bool = False) -> T:
        """Remove and return the next item; raise IndexError if the queue is empty.

        With `free`, its client is not charged for it.
        """
        self._time, _, client = heapq.heappop(self._order)
        flow = self._flows[client]
        item, cost = flow.items.popleft()
        self._length -= 1
        if not free:
            flow.used += cost
        if flow.items:
            self._schedule(client, flow)
        return item

    def charge(self, client: Hashable, cost: float) -> None:
        """Add to a client's use, if an item cost more than stated; negative if it cost less."""
        if flow := self._flows.get(client):
            flow.used += cost  # takes effect when the client is scheduled the next time

    def discard(self, condition: Callable[[T], bool]) -> None:
        """Remove the items for which `condition` holds."""
        self._order = []
        self._length = 0
        for client, flow in self._flows.items():
            flow.items = deque(pair for pair in flow.items if not condition(pair[0]))
            self._length += len(flow.items)
            if flow.items:
                self._schedule(client, flow)

    def _schedule(self, client: Hashable, flow: _Flow[T]) -> None:
        self._pushed += 1
        heapq.heappush(self._order, (flow.used, self._pushed, client))
