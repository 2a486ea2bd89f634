"""Build both images, run them as tightly as Cloud Run does, use them, load them, stop them.

python -m deploy.containers --engine docker

A line for each thing tried; the exit status is 1 if one fails. The root file systems are read-only,
no capability is left, the backend has 512 MB and the page 1 GB, and PORT is another than the images
have.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile

from client import Client, ClientError
from deploy import smoke
from deploy.images import BACKEND, FRONTEND, ROOT, Part
from deploy.services import answers, free_port
from deploy.smoke import PromiseError

PICTURE = smoke.PICTURE
START = 60.0  # s until a container answers
LOADED = 10.0  # s of load
CLIENTS = 8
MOST = {"backend": 380e6, "frontend": 850e6}  # bytes of an image, uncompressed
GRACE = 10  # s between SIGTERM and SIGKILL, as on Cloud Run


class Engine:
    """A container engine with Docker's command line."""

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)

    def __call__(self, *arguments: str) -> str:
        """Run one of its commands; raises CalledProcessError, with what it said, where it fails."""
        # A container that runs on may hold on to a pipe, and nobody would see the end of it.
        with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            command = [*self._command, *arguments]
            code = subprocess.call(command, cwd=ROOT, stdout=out, stderr=err)  # noqa: S603
            out.seek(0)
            err.seek(0)
            if code:
                raise subprocess.CalledProcessError(code, command, out.read() + err.read())
            return out.read().strip()

    def inspect(self, name: str, field: str) -> str:
        """Return one field of a container."""
        return self("container", "inspect", "--format", f"{{{{{field}}}}}", name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try everything in its order; the first failure ends it."""
    parser = argparse.ArgumentParser(prog="python -m deploy.containers", description=__doc__)
    parser.add_argument("--engine", default="docker", help="docker, podman, or what acts as one")
    parser.add_argument("--built", action="store_true", help="the images are built already")
    given = parser.parse_args(arguments)
    engine = Engine(given.engine)
    try:
        if not given.built:
            _build(engine)
        _weigh(engine)
        with _running(engine) as (backend, frontend):
            _check_health(engine)
            _use(backend, frontend)
            _use_from_image(engine)
            _load(backend, frontend)
            _look(engine)
            _stop(engine)
    except subprocess.CalledProcessError as error:
        print(f"FAILED  {shlex.join(error.cmd)}: {(error.output or '').strip()[-600:]}")
        return 1
    except (PromiseError, OSError, ValueError, ClientError) as error:
        print(f"FAILED  {error}")
        return 1
    return 0


def _build(engine: Engine) -> None:
    for part in (BACKEND, FRONTEND):
        started = time.monotonic()
        engine("build", "-f", part.dockerfile, "-t", part.image, ".")
        print(f"ok      {part.image} is built in {time.monotonic() - started:.0f} s")


def _weigh(engine: Engine) -> None:
    for part in (BACKEND, FRONTEND):
        size = int(engine("image", "inspect", "--format", "{{.Size}}", part.image))
        limit = MOST[part.name]
        _require(
            size <= limit, f"{part.image} has {size / 1e6:.0f} MB; {limit / 1e6:.0f} are allowed"
        )
        print(f"ok      {part.image} has {size / 1e6:.0f} MB of at most {limit / 1e6:.0f}")


@contextmanager
def _running(engine: Engine) -> Iterator[tuple[str, str]]:
    """Run both; the page shares the backend's network, which every engine can do."""
    published = [free_port(), free_port()]
    maps = [
        f"-p=127.0.0.1:{outside}:{part.port}"
        for outside, part in zip(published, (BACKEND, FRONTEND), strict=True)
    ]
    _remove(engine)
    try:
        _run(engine, BACKEND, *maps, "-e", "PRISM_HISTORY_OPEN=true")
        backend, frontend = (f"http://127.0.0.1:{port}" for port in published)
        _wait(backend + BACKEND.health)
        network = f"--network=container:{BACKEND.container}"
        _run(engine, FRONTEND, network, "-e", f"BACKEND=http://127.0.0.1:{BACKEND.port}")
        _wait(frontend + FRONTEND.health)
        yield backend, frontend
    finally:
        _remove(engine)


def _run(engine: Engine, part: Part, *more: str) -> None:
    engine(
        "run", "-d", f"--name={part.container}", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL",
        "--security-opt=no-new-privileges", f"--memory={part.memory}", "-e", f"PORT={part.port}",
        *more, part.image,
    )  # fmt: skip


def _remove(engine: Engine) -> None:
    for part in (FRONTEND, BACKEND):
        with suppress(subprocess.CalledProcessError):  # there was none
            engine("rm", "-f", part.container)


def _wait(url: str) -> None:
    started = time.monotonic()
    while True:
        if answers(url):
            print(f"ok      {url} answers after {time.monotonic() - started:.1f} s")
            return
        _require(time.monotonic() - started < START, f"{url} does not answer within {START:.0f} s")
        time.sleep(0.1)


def _check_health(engine: Engine) -> None:
    for part in (BACKEND, FRONTEND):
        engine("exec", part.container, *part.health_command)
        print(f"ok      {part.image} is healthy, its own check says")


def _use(backend: str, frontend: str) -> None:
    _require(smoke.main([backend, "--frontend", frontend]) == 0, "the smoke test found something")


def _use_from_image(engine: Engine) -> None:
    """The page's image has what the smoke test imports: a deployment runs it there."""
    backend, frontend = (f"http://127.0.0.1:{part.port}" for part in (BACKEND, FRONTEND))
    engine(
        "run", "--rm", f"--network=container:{BACKEND.container}", "--security-opt=label=disable",
        f"--volume={ROOT}:/workspace:ro", "--workdir=/workspace", "--entrypoint=python",
        FRONTEND.image, "-m", "deploy.smoke", backend, f"--frontend={frontend}",
    )  # fmt: skip
    print("ok      the smoke test runs in the page's image, too")


def _load(backend: str, frontend: str) -> None:
    """Ask the backend from several threads while people draw, and upload photographs."""
    counts = [0] * CLIENTS
    failures: list[str] = []
    end = time.monotonic() + LOADED

    def ask(number: int) -> None:
        with Client(backend) as client:
            while time.monotonic() < end:
                try:
                    client.classify(PICTURE.read_bytes(), filename=PICTURE.name)
                    counts[number] += 1
                except ClientError as error:
                    failures.append(str(error))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    visits = subprocess.run(  # noqa: S603
        [
            *(sys.executable, "-m", "locust", "--headless", "--only-summary", "--users=12"),
            *("--spawn-rate=12", f"--run-time={LOADED:.0f}s", "--max-p95=10000"),
            *(f"--host={backend}", f"--frontend={frontend}", "Visitor", "Photographer"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    for thread in threads:
        thread.join()
    _require(not failures, f"the backend failed under load: {', '.join(failures[:1])}")
    _require(visits.returncode == 0, f"people were failed under load:\n{visits.stdout[-2000:]}")
    print(f"ok      under load: {sum(counts) / LOADED:.0f} answers a second, no failure")
    print("ok      meanwhile people drew, and uploaded photographs from phones: no failure")


def _look(engine: Engine) -> None:
    for part in (BACKEND, FRONTEND):
        state = json.loads(engine.inspect(part.container, "json .State"))
        _require(state["Running"], f"{part.image} has ended")
        _require(not state.get("OOMKilled"), f"{part.image} took more than {part.memory}")
        user = engine("exec", part.container, "id", "-u")
        _require(user != "0", f"{part.image} runs as root")
        peak = engine("exec", part.container, "sh", "-c", "grep VmHWM /proc/1/status")
        print(f"ok      {part.image} runs as user {user}, {peak.split(':')[1].strip()} at most")


def _stop(engine: Engine) -> None:
    for part in (FRONTEND, BACKEND):
        started = time.monotonic()
        engine("stop", "-t", str(GRACE), part.container)
        took = time.monotonic() - started
        code = engine.inspect(part.container, ".State.ExitCode")
        _require(took < GRACE, f"{part.image} did not end within {GRACE} s of SIGTERM")
        _require(code in ("0", "143"), f"{part.image} ended with {code}")
        print(f"ok      {part.image} ends {took:.1f} s after SIGTERM")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise PromiseError(otherwise)


if __name__ == "__main__":
    sys.exit(main())
