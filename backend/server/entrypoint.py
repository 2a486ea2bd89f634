"""The service as processes: settings in, one server or several workers."""

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
from backend.server.connections import Preferred, Shared
from backend.server.lifecycle import Server
from backend.server.workers import Workers
from backend.settings import SECRET, Settings
from backend.telemetry import logs

_CANNOT_START: Final = 3  # uvicorn's exit status where the port is taken, say
_PASSED_ON: Final = 0.1  # seconds from a lifeline's end to the parent's signal, at most
_SPARE_FILES: Final = 512  # beside the connections: refused ones, models, libraries


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; exit with one line where a setting is wrong."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings, app = _prepare()
    if settings.workers == 1:
        serve(settings, app)
        return
    listener = _config(settings, app).bind_socket()
    ended_by = Workers(work, settings.workers, listener).run()
    if ended_by is None:
        sys.exit(_CANNOT_START)
    if ended_by == signal.SIGTERM:
        signal.raise_signal(ended_by)  # as one process alone ends


def work(listener: socket.socket, lifeline: Connection) -> None:
    """Be one of several workers."""
    serve(*_prepare(), listener, lifeline)


def serve(
    settings: Settings,
    app: FastAPI,
    listener: socket.socket | None = None,
    lifeline: Connection | None = None,
) -> None:
    """Serve `app` here; one of several has a `listener`, and ends when its `lifeline` does."""

    def tell(server: Server) -> None:
        if lifeline is not None:
            with suppress(OSError):  # the parent has gone, or ends: to be read below
                lifeline.send_bytes(b"serves")
            asyncio.get_running_loop().add_reader(lifeline.fileno(), _orphaned, server, lifeline)

    gc.freeze()  # what is here now stays: collections need not look at it again
    _allow_files(settings.max_connections + _SPARE_FILES)
    shared = Shared(app.state.drain, settings.max_connections, settings.header_timeout)
    all_end = lifeline.poll if lifeline else None  # it can be read once the parent has let go
    server = Server(_config(settings, app), shared, all_end=all_end, when_started=tell)
    with suppress(KeyboardInterrupt):  # a way to ask for the end, raised again at the end
        server.run([listener] if listener else None)
    if not server.started:
        sys.exit(_CANNOT_START)


def _prepare() -> tuple[Settings, FastAPI]:
    warnings.filterwarnings("ignore", module="PIL")
    try:
        settings = Settings()
        logs.configure(settings.log_format, settings.log_level)
        return settings, create_app(settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = name if name.isupper() else f"PRISM_{name.upper()}"
        value = "" if name in SECRET else f"={first['input']}"
        sys.exit(f"error: {variable}{value}: {first['msg']}")
    except (ArtifactError, OSError) as error:  # the latter of a folder for metrics, say
        sys.exit(f"error: {error}")


def _config(settings: Settings, app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=Preferred,
        ws="none",
        workers=1,  # else it reads WEB_CONCURRENCY by itself
        log_config=None,  # its records go where ours do
        access_log=False,  # the application writes its own, without queries
    )


def _orphaned(server: Server, lifeline: Connection) -> None:
    loop = asyncio.get_running_loop()
    loop.remove_reader(lifeline.fileno())
    # A parent that ends, and was not killed, says next by which signal.
    loop.call_later(_PASSED_ON, server.handle_exit, signal.SIGTERM, None)


def _allow_files(wanted: int) -> None:
    """Lift the soft limit of open files as far as may be, so that the connections fit."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
