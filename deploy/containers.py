"""Build both images, run them with the limits of Cloud Run, test them under load, and stop them.

python -m deploy.containers --engine docker

Print one line per check; the exit status is 1 if one fails. The root file systems are read-only,
all capabilities are dropped, the backend has 512 MB and the frontend 1 GB, and PORT differs from
the defaults of the images.
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
from deploy.container_images import BACKEND, FRONTEND, ROOT, Service
from deploy.services import free_port, responds
from deploy.smoke import CheckError

START_TIMEOUT = 60.0  # seconds until a container responds
LOAD_SECONDS = 10.0
CLIENTS = 8
MAX_IMAGE_BYTES = {"backend": 420e6, "frontend": 870e6}  # uncompressed
STOP_TIMEOUT = 10  # seconds between SIGTERM and SIGKILL, as on Cloud Run


class Engine:
    """A container engine with Docker's command line."""

    def __init__(self, command: str) -> None:
        self._command = shlex.split(command)

    def __call__(self, *arguments: str) -> str:
        """Run a command and return its output; raise CalledProcessError with its output."""
        # A container in the background would keep a pipe open, so the output goes to files.
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
    """Run all checks in order; stop at the first failure."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.containers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--engine", default="docker", help="docker, podman or a compatible command")
    parser.add_argument("--built", action="store_true", help="skip the build")
    options = parser.parse_args(arguments)
    engine = Engine(options.engine)
    try:
        if not options.built:
            _build(engine)
        _check_sizes(engine)
        with _running(engine) as (backend, frontend):
            _check_health(engine)
            _require(smoke.main([backend, "--frontend", frontend]) == 0, "the smoke test failed")
            _run_smoke_test_in_image(engine)
            _run_load(backend, frontend)
            _check_state(engine)
            _check_stop(engine)
    except subprocess.CalledProcessError as error:
        print(f"FAILED  {shlex.join(error.cmd)}: {(error.output or '').strip()[-600:]}")
        return 1
    except (CheckError, OSError, ValueError, ClientError) as error:
        print(f"FAILED  {error}")
        return 1
    return 0


def _build(engine: Engine) -> None:
    for service in (BACKEND, FRONTEND):
        started = time.monotonic()
        engine("build", "-f", service.dockerfile, "-t", service.image, ".")
        print(f"ok      {service.image} built in {time.monotonic() - started:.0f} s")


def _check_sizes(engine: Engine) -> None:
    for service in (BACKEND, FRONTEND):
        size = int(engine("image", "inspect", "--format", "{{.Size}}", service.image))
        limit = MAX_IMAGE_BYTES[service.name]
        text = f"{service.image} has {size / 1e6:.0f} MB"
        _require(size <= limit, f"{text}; {limit / 1e6:.0f} are allowed")
        print(f"ok      {text} (limit: {limit / 1e6:.0f})")


@contextmanager
def _running(engine: Engine) -> Iterator[tuple[str, str]]:
    """Run both; the frontend shares the backend's network, which every engine supports."""
    ports = [free_port(), free_port()]
    inner = (BACKEND.port, FRONTEND.port)
    maps = [f"-p=127.0.0.1:{port}:{port_in}" for port, port_in in zip(ports, inner, strict=True)]
    _remove(engine)
    try:
        _run(engine, BACKEND, *maps, "-e", "PRISM_HISTORY_OPEN=true")
        backend, frontend = (f"http://127.0.0.1:{port}" for port in ports)
        _wait(backend + BACKEND.health)
        network = f"--network=container:{BACKEND.container}"
        _run(engine, FRONTEND, network, "-e", f"BACKEND=http://127.0.0.1:{BACKEND.port}")
        _wait(frontend + FRONTEND.health)
        yield backend, frontend
    finally:
        _remove(engine)


def _run(engine: Engine, service: Service, *more: str) -> None:
    engine(
        "run", "-d", f"--name={service.container}", "--read-only", "--tmpfs=/tmp",
        "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--memory={service.memory}",
        "-e", f"PORT={service.port}", *more, service.image,
    )  # fmt: skip


def _remove(engine: Engine) -> None:
    for service in (FRONTEND, BACKEND):
        with suppress(subprocess.CalledProcessError):  # it does not exist
            engine("rm", "-f", service.container)


def _wait(url: str) -> None:
    started = time.monotonic()
    while True:
        if responds(url):
            print(f"ok      {url} responds after {time.monotonic() - started:.1f} s")
            return
        in_time = time.monotonic() - started < START_TIMEOUT
        _require(in_time, f"{url} does not respond within {START_TIMEOUT:.0f} s")
        time.sleep(0.1)


def _check_health(engine: Engine) -> None:
    for service in (BACKEND, FRONTEND):
        engine("exec", service.container, *service.health_command)
        print(f"ok      {service.image} passes its health check")


def _run_smoke_test_in_image(engine: Engine) -> None:
    """Run the smoke test in the frontend's image, as cloudbuild.yaml does."""
    backend, frontend = (f"http://127.0.0.1:{service.port}" for service in (BACKEND, FRONTEND))
    engine(
        "run", "--rm", f"--network=container:{BACKEND.container}", "--security-opt=label=disable",
        f"--volume={ROOT}:/workspace:ro", "--workdir=/workspace", "--entrypoint=python",
        FRONTEND.image, "-m", "deploy.smoke", backend, f"--frontend={frontend}",
    )  # fmt: skip
    print("ok      the smoke test passes in the frontend's image")


def _run_load(backend: str, frontend: str) -> None:
    """Send digits from several threads while simulated users draw and upload photographs."""
    counts = [0] * CLIENTS
    failures: list[str] = []
    end = time.monotonic() + LOAD_SECONDS

    def send(number: int) -> None:
        with Client(backend) as client:
            while time.monotonic() < end:
                try:
                    client.classify(smoke.IMAGE.read_bytes(), filename=smoke.IMAGE.name)
                    counts[number] += 1
                except ClientError as error:
                    failures.append(str(error))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    locust = subprocess.run(  # noqa: S603
        [
            *(sys.executable, "-m", "locust", "--headless", "--only-summary", "--users=12"),
            *("--spawn-rate=12", f"--run-time={LOAD_SECONDS:.0f}s", "--max-p95=10000"),
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
    output = locust.stdout[-2000:]
    _require(locust.returncode == 0, f"requests of simulated users failed under load:\n{output}")
    rate = sum(counts) / LOAD_SECONDS
    print(f"ok      under load: {rate:.0f} classifications per second without a failure")
    print("ok      simulated users drew and uploaded phone photographs without a failure")


def _check_state(engine: Engine) -> None:
    for service in (BACKEND, FRONTEND):
        state = json.loads(engine.inspect(service.container, "json .State"))
        _require(state["Running"], f"{service.image} has exited")
        _require(not state.get("OOMKilled"), f"{service.image} exceeded {service.memory}")
        user = engine("exec", service.container, "id", "-u")
        _require(user != "0", f"{service.image} runs as root")
        status = engine("exec", service.container, "sh", "-c", "grep VmHWM /proc/1/status")
        peak = status.split(":")[1].strip()
        print(f"ok      {service.image} runs as user {user} and used at most {peak}")


def _check_stop(engine: Engine) -> None:
    for service in (FRONTEND, BACKEND):
        start = time.monotonic()
        engine("stop", "-t", str(STOP_TIMEOUT), service.container)
        elapsed = time.monotonic() - start
        code = engine.inspect(service.container, ".State.ExitCode")
        message = f"{service.image} did not stop within {STOP_TIMEOUT} s of SIGTERM"
        _require(elapsed < STOP_TIMEOUT, message)
        _require(code in ("0", "143"), f"{service.image} exited with {code}")
        print(f"ok      {service.image} stops {elapsed:.1f} s after SIGTERM")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise CheckError(message)


if __name__ == "__main__":
    sys.exit(main())
