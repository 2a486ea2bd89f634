"""A backend process on a free port, killed at the end of a test."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx

from client import Client
from tests.conftest import ROOT, free_port, wait_until_ready
from tests.images import encoded, seven


class BackendProcess:
    """`python -m backend` with the given environment; stderr goes to the file `log`, if given."""

    module = "backend"

    def __init__(self, log: Path | None = None, **environ: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # Without TLS and keep-alive: a request costs little, and uses a new connection.
        self._client = httpx.Client(
            base_url=self.url,
            verify=False,
            trust_env=False,
            timeout=10,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self._log: IO[bytes] | None = log.open("wb") if log else None
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module],
            cwd=ROOT,
            env={**os.environ, "PORT": str(self.port), **environ},
            stderr=self._log,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._client.close()
        self.process.kill()
        self.process.wait()
        if self._log:
            self._log.close()

    def wait_until_ready(self) -> None:
        """Wait until the backend is ready."""
        wait_until_ready(self.url, self.process)

    def get(self, path: str) -> httpx.Response:
        """Send a GET request on a new connection."""
        return self._client.get(path)

    def connect(self) -> socket.socket:
        """Open a TCP connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@contextmanager
def backend_with_history(data_dir: Path) -> Iterator[Client]:
    """Yield a client of a backend with an open history that stores thumbnails."""
    with (
        BackendProcess(
            PRISM_DATA_DIR=str(data_dir), PRISM_HISTORY_OPEN="true", PRISM_HISTORY_IMAGES="true"
        ) as backend,
        Client(backend.url) as client,
    ):
        backend.wait_until_ready()
        while client.classify(encoded(seven()), filename="first.png").stored is not True:
            pass
        yield client
