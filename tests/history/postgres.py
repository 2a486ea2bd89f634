"""A temporary PostgreSQL server from the installed binaries."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.conftest import free_port

USER = "postgres"  # PostgreSQL refuses to run as root


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs; skip the test if it is not installed."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(candidates[-1]) if candidates else shutil.which("initdb")
    if initdb is None:
        message = "PostgreSQL is not installed (Debian, Ubuntu: apt install postgresql)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return Path(initdb).resolve().parent


@contextmanager
def running() -> Iterator["Postgres"]:
    """Run a server. Its folder is not below pytest's, which other users cannot enter."""
    folder = Path(mkdtemp(prefix="prism-postgres-"))
    try:
        server = Postgres(folder / "server")
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


class Postgres:
    """A server on a free local port with its data in `folder`, which it creates."""

    def __init__(self, folder: Path) -> None:
        self._programs = binaries()
        self._folder = folder
        self._port = free_port()
        folder.mkdir()
        self._user = None
        if os.geteuid() == 0:
            self._user = USER
            for parent in folder.parents[:3]:
                parent.chmod(parent.stat().st_mode | 0o055)
            os.chown(folder, pwd.getpwnam(USER).pw_uid, -1)
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "prism", "--no-sync")

    def url(self, database: str = "postgres") -> str:
        """Return the URL of `database`."""
        return f"postgresql://prism@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c fsync=off -k {self._folder}"
        log = str(self._folder / "log")
        self._run(
            "pg_ctl", "-D", str(self._folder / "data"), "-w", "-l", log, "-o", options, "start"
        )

    def stop(self) -> None:
        """Stop the server at once and drop its connections."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", "immediate", "stop")

    def kill(self) -> None:
        """Send SIGKILL to all processes of the server."""
        postmaster = int((self._folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for process in (postmaster, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while Path(f"/proc/{postmaster}").exists():
            time.sleep(0.01)

    def create(self, database: str) -> str:
        """Create an empty database and return its URL."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self._port), "-U", "prism", database)
        return self.url(database)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments],
            check=True,
            user=self._user,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )
