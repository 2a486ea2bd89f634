"""A PostgreSQL of the tests' own, from the machine's binaries: its folder, its port, its end."""

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

USER = "postgres"  # it refuses to run as root


def binaries() -> Path:
    """The folder of PostgreSQL's programs; skips, saying so, where there is none."""
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(homes[-1]) if homes else shutil.which("initdb")
    if found is None:
        missing = "no PostgreSQL on this machine (Debian, Ubuntu: apt install postgresql)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return Path(found).resolve().parent


@contextmanager
def running() -> Iterator["Postgres"]:
    """A server that runs; its folder is not pytest's, which closes its own to other users."""
    folder = Path(mkdtemp(prefix="prism-postgres-"))
    try:
        server = Postgres(folder / "server")
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


class Postgres:
    """A server on a free port of this machine; `folder` is made, and belongs to it."""

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
        """Where `database` is."""
        return f"postgresql://prism@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c fsync=off -k {self._folder}"
        log = str(self._folder / "log")
        self._run(
            "pg_ctl", "-D", str(self._folder / "data"), "-w", "-l", log, "-o", options, "start"
        )

    def stop(self) -> None:
        """Stop at once; connections are cut."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", "immediate", "stop")

    def kill(self) -> None:
        """Kill every process of it, as `kill -9` does."""
        first = int((self._folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for process in (first, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while Path(f"/proc/{first}").exists():
            time.sleep(0.01)

    def create(self, database: str) -> str:
        """Make an empty database; its URL."""
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
