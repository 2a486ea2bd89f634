"""The backend on Ray Serve, as an alternative to a process per container.

    serve run deploy.ray_serve:backend

Settings are those of the backend. Each replica is an instance with its own queue and quotas. There
is one bounded queue, ours: Ray passes every request on at once (`max_ongoing_requests` is far above
PRISM_QUEUE_SIZE), and the backend refuses what it cannot answer in time with 429.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from ray import serve

from backend.app import create_app

MAX_REQUESTS: Final = 10_000  # per replica; a batch request holds many images
STOP_SECONDS: Final = 8.0  # as of the backend's own graceful shutdown

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]


class StatefulApp:
    """ASGI application that gives the state of its lifespan to each request.

    Servers do that by the ASGI specification; Ray does not.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app
        self._state: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application."""
        if scope["type"] == "lifespan":
            state: dict[str, Any] = self._state
        else:
            state = {**self._state, **scope.get("state", {})}
        await self._app({**scope, "state": state}, receive, send)


def build() -> StatefulApp:
    """Return the application; Ray calls this in the process of each replica."""
    return StatefulApp(create_app())


backend = serve.deployment(
    serve.ingress(build)(),
    name="backend",
    max_ongoing_requests=MAX_REQUESTS,
    graceful_shutdown_timeout_s=STOP_SECONDS,
    health_check_period_s=10,
    health_check_timeout_s=30,
    # Images in flight per replica, below the number at the saturation point (docs/scaling.md).
    autoscaling_config={"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 8},
).bind()
