"""Entry point of the service: reads the settings and runs one server or several workers."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from typing import Final

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from backend.api.middleware.security_headers import FIXED_HEADERS
from backend.app import create_app
from backend.inference.errors import ArtifactError
from backend.resources.allocator import return_freed_memory
from backend.server.connection_limits import ConnectionLimits
from backend.server.descriptors import MAX_BACKLOG, reserve_descriptors
from backend.server.lifecycle import Server
from backend.server.protocols import DefaultConnection
from backend.server.reloading import on_reload
from backend.server.request_stream import SharedState
from backend.server.worker_process import CONFIG_ERROR, send_heartbeats
from backend.server.workers import WorkerSupervisor
from backend.settings import SECRET_FIELDS, Settings
from backend.telemetry import logs

log = logging.getLogger("prism.server")

_START_FAILED: Final = 3  # exit status; uvicorn's own, for instance when the port is taken
_SIGNAL_DELAY: Final = 0.1  # seconds at most from the end of a pipe to the parent's signal


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; exit with a one-line error for an invalid setting."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings, app = _load()
    log.info("accepted host names: %s", settings.describe_hosts())
    if settings.workers == 1:
        serve(settings, app)
        return
    listener = _uvicorn_config(settings, app).bind_socket()
    is_first_process = os.getpid() == 1  # of a container
    supervisor = WorkerSupervisor(
        run_worker, settings.workers, listener, reap_orphans=is_first_process
    )
    stop_signal = supervisor.run()
    if stop_signal is None:
        sys.exit(_START_FAILED)
    if stop_signal == signal.SIGTERM:
        signal.raise_signal(stop_signal)  # the same exit status as a single process


def run_worker(listener: socket.socket, pipe: Connection) -> None:
    """Serve as one of several workers."""
    try:
        settings, app = _load()
    except SystemExit as error:
        print(error, file=sys.stderr)
        sys.exit(CONFIG_ERROR)
    serve(settings, app, listener, pipe)


def serve(
    settings: Settings,
    app: FastAPI,
    listener: socket.socket | None = None,
    pipe: Connection | None = None,
) -> None:
    """Serve `app` in this process.

    A worker gets the shared `listener` and a `pipe` to its supervisor, and stops when the pipe is
    closed.
    """

    reloading = ExitStack()

    def report_started(server: Server) -> None:
        state = server.lifespan.state
        if threading.current_thread() is threading.main_thread():  # not in a test
            reloading.enter_context(on_reload(_call_soon(state["reload"])))
        if pipe is not None:
            catalog, reader = state["catalog"], state["image_reader"]

            def is_loading() -> bool:
                reader.require_responsive()
                return bool(catalog.is_loading)

            send_heartbeats(pipe, is_loading)
            asyncio.get_running_loop().add_reader(pipe.fileno(), _on_pipe_closed, server, pipe)

    return_freed_memory()
    budget = reserve_descriptors(settings.max_connections)
    limits = ConnectionLimits(
        budget.connections, budget.over_limit, per_client=not settings.trusted_proxies
    )
    shared = SharedState(
        app.state.drain_state, limits, settings.header_timeout, settings.write_timeout
    )
    is_service_stopping = pipe.poll if pipe else None  # readable once the supervisor closed it
    server = Server(
        _uvicorn_config(settings, app, budget.backlog),
        shared,
        is_service_stopping=is_service_stopping,
        on_started=report_started,
    )
    with (
        reloading,
        suppress(KeyboardInterrupt),
    ):  # uvicorn raises the signal again after the shutdown
        server.run([listener] if listener else None)
    if not server.started:
        sys.exit(_START_FAILED)


def _load() -> tuple[Settings, FastAPI]:
    warnings.filterwarnings("ignore", module="PIL")
    try:
        settings = Settings()
        logs.configure(settings.log_format, settings.log_level)
        app = create_app(settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = name if name.isupper() else f"PRISM_{name.upper()}"
        value = "" if name in SECRET_FIELDS else f"={first['input']}"
        sys.exit(f"error: {variable}{value}: {first['msg']}")
    except (ArtifactError, OSError) as error:  # OSError: for instance the metrics folder
        sys.exit(f"error: {error}")
    gc.freeze()  # objects that exist now are permanent; collections skip them
    gc.enable()
    return settings, app


def _uvicorn_config(settings: Settings, app: FastAPI, backlog: int = MAX_BACKLOG) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.http_port,
        http=DefaultConnection,
        ws="none",
        workers=1,  # otherwise uvicorn reads WEB_CONCURRENCY
        log_config=None,  # uvicorn's records use our handlers
        backlog=backlog,
        access_log=False,  # AccessLogMiddleware writes one without queries
        headers=FIXED_HEADERS,
        server_header=False,
        proxy_headers=False,  # PRISM_TRUSTED_PROXIES says whether X-Forwarded-For is believed
    )


def _call_soon(callback: Callable[[], None]) -> Callable[[], None]:
    """Return a signal handler that calls `callback` on the running loop, while that exists."""
    loop = asyncio.get_running_loop()

    def handle() -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(callback)

    return handle


def _on_pipe_closed(server: Server, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    loop.remove_reader(pipe.fileno())
    # A supervisor that stops sends its signal right after; a killed one sends none.
    loop.call_later(_SIGNAL_DELAY, server.handle_exit, signal.SIGTERM, None)
