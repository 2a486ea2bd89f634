"""Entry point of the service: reads the settings and runs one server or several workers."""

import asyncio
import gc
import signal
import socket
import sys
import warnings
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Final

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from backend.app import create_app
from backend.inference.errors import ArtifactError
from backend.server.connections import DefaultConnection, SharedState
from backend.server.lifecycle import Server
from backend.server.workers import WorkerSupervisor
from backend.settings import SECRET_FIELDS, Settings
from backend.telemetry import logs

_START_FAILED: Final = 3  # exit status; uvicorn's own, for instance when the port is taken
_SIGNAL_DELAY: Final = 0.1  # seconds at most from the end of a pipe to the parent's signal
_EXTRA_FILES: Final = 512  # file descriptors besides connections: rejected ones, models, libraries


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; exit with a one-line error for an invalid setting."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings, app = _load()
    if settings.workers == 1:
        serve(settings, app)
        return
    listener = _uvicorn_config(settings, app).bind_socket()
    stop_signal = WorkerSupervisor(run_worker, settings.workers, listener).run()
    if stop_signal is None:
        sys.exit(_START_FAILED)
    if stop_signal == signal.SIGTERM:
        signal.raise_signal(stop_signal)  # the same exit status as a single process


def run_worker(listener: socket.socket, pipe: Connection) -> None:
    """Serve as one of several workers."""
    serve(*_load(), listener, pipe)


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

    def report_started(server: Server) -> None:
        if pipe is not None:
            with suppress(OSError):  # the supervisor is gone or stopping: the reader notices
                pipe.send_bytes(b"started")
            asyncio.get_running_loop().add_reader(pipe.fileno(), _on_pipe_closed, server, pipe)

    gc.freeze()  # objects that exist now are permanent; collections skip them
    _raise_file_limit(settings.max_connections + _EXTRA_FILES)
    shared = SharedState(app.state.drain_state, settings.max_connections, settings.header_timeout)
    is_service_stopping = pipe.poll if pipe else None  # readable once the supervisor closed it
    server = Server(
        _uvicorn_config(settings, app),
        shared,
        is_service_stopping=is_service_stopping,
        on_started=report_started,
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again after the shutdown
        server.run([listener] if listener else None)
    if not server.started:
        sys.exit(_START_FAILED)


def _load() -> tuple[Settings, FastAPI]:
    warnings.filterwarnings("ignore", module="PIL")
    try:
        settings = Settings()
        logs.configure(settings.log_format, settings.log_level)
        return settings, create_app(settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = name if name.isupper() else f"PRISM_{name.upper()}"
        value = "" if name in SECRET_FIELDS else f"={first['input']}"
        sys.exit(f"error: {variable}{value}: {first['msg']}")
    except (ArtifactError, OSError) as error:  # OSError: for instance the metrics folder
        sys.exit(f"error: {error}")


def _uvicorn_config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=DefaultConnection,
        ws="none",
        workers=1,  # otherwise uvicorn reads WEB_CONCURRENCY
        log_config=None,  # uvicorn's records use our handlers
        access_log=False,  # AccessLogMiddleware writes one without queries
        proxy_headers=False,  # PRISM_TRUSTED_PROXIES says whether X-Forwarded-For is believed
    )


def _on_pipe_closed(server: Server, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    loop.remove_reader(pipe.fileno())
    # A supervisor that stops sends its signal right after; a killed one sends none.
    loop.call_later(_SIGNAL_DELAY, server.handle_exit, signal.SIGTERM, None)


def _raise_file_limit(required: int) -> None:
    """Raise the soft limit of open files to `required`, or to the hard limit if that is lower."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < required:
        limit = required if hard == resource.RLIM_INFINITY else min(required, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
