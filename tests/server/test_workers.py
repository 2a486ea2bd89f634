"""Worker processes: failed starts, heartbeats, orphans and the shared metrics folder."""

import ctypes
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from backend.server import workers
from backend.server.worker_process import CONFIG_ERROR, Worker
from backend.server.workers import RestartPolicy, WorkerSupervisor
from backend.telemetry.metrics import FOLDER

STARTS = "PRISM_TEST_STARTS"  # a file with one line for each started worker: its process ID
READY = b"r"
FAST = RestartPolicy(
    check_interval=0.02, silent_checks=25, silent_start_checks=10_000, delay=0.01, failed_starts=2
)
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl: orphans become children, as of process 1


@pytest.fixture(autouse=True)
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "starts"
    file.touch()
    monkeypatch.setenv(STARTS, str(file))
    return file


def count_start() -> int:
    """Append a line to the file of starts; return the number of lines."""
    file = Path(os.environ[STARTS])
    with file.open("a") as lines:
        lines.write(f"{os.getpid()}\n")
    return len(file.read_text().splitlines())


def be_ready(pipe: Connection) -> None:
    os.write(pipe.fileno(), READY)


def stop_service() -> None:
    """Send SIGTERM to the supervisor, then wait for its signal."""
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(30)


def run(
    work: Callable[[socket.socket, Connection], None],
    count: int = 1,
    policy: RestartPolicy = FAST,
    **options: bool,
) -> int | None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return WorkerSupervisor(work, count, listener, policy, **options).run()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records]


def fail(_: socket.socket, __: Connection) -> None:
    count_start()
    sys.exit(1)


def test_service_ends_after_repeated_failed_starts_with_bounded_delay(
    caplog: pytest.LogCaptureFixture, starts: Path
) -> None:
    assert run(fail, policy=replace(FAST, max_delay_alone=0.015, failed_starts=3)) is None
    assert len(starts.read_text().splitlines()) == 3
    *failures, end = messages(caplog)
    assert [text.split("in ")[1] for text in failures] == ["0.01 s", "0.015 s", "0.015 s"]
    assert end == "no worker became ready in 3 attempts; see the log lines above"


def fail_until_third_start(_: socket.socket, pipe: Connection) -> None:
    start = count_start()
    if start in {1, 2, 4}:
        sys.exit(1)
    be_ready(pipe)
    if start == 3:
        os._exit(0)  # at once
    stop_service()


def test_delay_of_restarts_doubles_until_a_worker_is_ready(
    caplog: pytest.LogCaptureFixture,
) -> None:
    policy = replace(FAST, failed_starts=3)
    assert run(fail_until_third_start, policy=policy) == signal.SIGTERM
    failed = "ended before it was ready (exit status 1): starting a replacement in {} s"
    first, second, died, again = messages(caplog)
    assert first.endswith(failed.format(0.01))
    assert second.endswith(failed.format(0.02))
    assert died.endswith("died (exit status 0): starting a replacement")
    assert again.endswith(failed.format(0.01))


def have_invalid_settings(_: socket.socket, __: Connection) -> None:
    count_start()
    sys.exit(CONFIG_ERROR)


def test_invalid_settings_of_a_worker_end_the_service_at_once(
    caplog: pytest.LogCaptureFixture, starts: Path
) -> None:
    assert run(have_invalid_settings) is None
    assert messages(caplog) == ["a worker failed to start; see the log lines above"]
    assert len(starts.read_text().splitlines()) == 1


def be_ready_or_fail(_: socket.socket, pipe: Connection) -> None:
    """Be ready as the first worker; the others fail."""
    start = count_start()
    if start > 1:
        if start >= 5:
            os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(0.2)  # until the supervisor has read the heartbeat of the first
        sys.exit(CONFIG_ERROR if start == 3 else 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(count_start() and 0))
    while True:
        be_ready(pipe)
        time.sleep(0.01)


def test_healthy_worker_is_kept_while_others_fail(
    starts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not stopped although the others failed more often than `failed_starts`."""
    policy = replace(FAST, silent_checks=10_000, max_delay=0.015, max_delay_alone=0)
    assert run(be_ready_or_fail, 2, policy) == signal.SIGTERM
    delays = [text.split("in ")[1] for text in messages(caplog) if "before it was ready" in text]
    assert delays[:3] == ["0.01 s", "0.015 s", "0.015 s"]
    pids = starts.read_text().splitlines()
    assert pids[0] == pids[-1]  # it wrote the last line at SIGTERM
    assert len(set(pids)) >= 5


def suspend(pipe: Connection) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def be_ready_and_suspend(pipe: Connection) -> None:
    be_ready(pipe)
    suspend(pipe)


def be_ready_and_hang(pipe: Connection) -> None:
    be_ready(pipe)
    time.sleep(30)


def run_failure(_: socket.socket, pipe: Connection) -> None:
    """Run the function named by the environment in the first worker."""
    if count_start() == 1:
        globals()[os.environ["PRISM_TEST_FAILURE"]](pipe)
    stop_service()


@pytest.mark.parametrize("failure", [suspend, be_ready_and_suspend, be_ready_and_hang])
def test_worker_without_heartbeats_is_replaced(
    failure: Callable[[Connection], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PRISM_TEST_FAILURE", failure.__name__)
    assert run(run_failure, policy=replace(FAST, silent_start_checks=1000)) == signal.SIGTERM
    killed, died = messages(caplog)
    reason = "does not respond" if failure is be_ready_and_hang else "is suspended"
    assert killed.endswith(f"{reason}: killing it")
    assert "SIGKILL" in died


def test_default_policy_replaces_a_silent_worker_within_15_s() -> None:
    """With up to a second for each of check and heartbeat, 5 s remain for the start."""
    policy = RestartPolicy()
    assert (policy.silent_checks + 1) * policy.check_interval + policy.delay <= 10


def start_slowly(_: socket.socket, pipe: Connection) -> None:
    count_start()
    time.sleep(2 * FAST.silent_checks * FAST.check_interval)
    be_ready(pipe)
    stop_service()


def test_slow_start_is_not_interrupted(caplog: pytest.LogCaptureFixture, starts: Path) -> None:
    assert run(start_slowly) == signal.SIGTERM
    assert not messages(caplog)
    assert len(starts.read_text().splitlines()) == 1


def hang_at_start(_: socket.socket, __: Connection) -> None:
    count_start()
    time.sleep(30)


def test_start_that_hangs_is_interrupted(caplog: pytest.LogCaptureFixture) -> None:
    policy = replace(FAST, silent_start_checks=10, failed_starts=1)
    assert run(hang_at_start, policy=policy) is None
    assert messages(caplog)[0].endswith("does not respond: killing it")


def beat(_: socket.socket, pipe: Connection) -> None:
    count_start()
    while True:
        be_ready(pipe)
        time.sleep(FAST.check_interval / 2)


def supervise_in_group() -> None:
    os.setpgid(0, 0)
    run(beat, policy=FAST)


def test_suspended_service_resumes_with_its_workers(starts: Path) -> None:
    """A suspended supervisor, container or machine counts no missing heartbeats."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=supervise_in_group)
    process.start()
    try:
        while not starts.read_text():
            time.sleep(0.01)
        time.sleep(5 * FAST.check_interval)
        os.killpg(process.pid or 0, signal.SIGSTOP)
        time.sleep(2 * FAST.silent_checks * FAST.check_interval)
        os.killpg(process.pid or 0, signal.SIGCONT)
        time.sleep(1.5 * FAST.silent_checks * FAST.check_interval)
    finally:
        process.terminate()
        process.join(10)
    assert len(starts.read_text().splitlines()) == 1


def stop_at_start(_: socket.socket, __: Connection) -> None:
    stop_service()


def test_process_that_cannot_be_created_is_retried(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [OSError(11, "Resource temporarily unavailable")]

    def create(*args: object) -> Worker:
        if errors:
            raise errors.pop()
        return Worker(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(workers, "Worker", create)
    assert run(stop_at_start) == signal.SIGTERM
    assert "not created (Resource temporarily unavailable)" in messages(caplog)[0]


def leave_orphan(_: socket.socket, pipe: Connection) -> None:
    """Start a process, whose ID follows the worker's in the file of starts, and die."""
    be_ready(pipe)
    if count_start() > 1:
        time.sleep(0.3)  # the orphan has ended
        stop_service()
    orphan = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with Path(os.environ[STARTS]).open("a") as lines:
        lines.write(f"{orphan.pid}\n")


@pytest.mark.skipif(sys.platform != "linux", reason="requires prctl")
@pytest.mark.parametrize("reap_orphans", [True, False])
def test_orphans_are_reaped_by_the_first_process(reap_orphans: bool, starts: Path) -> None:
    prctl = ctypes.CDLL(None).prctl
    assert prctl(SUBREAPER, 1) == 0
    try:
        policy = replace(FAST, silent_checks=10_000)
        assert run(leave_orphan, policy=policy, reap_orphans=reap_orphans) == signal.SIGTERM
        orphan = int(starts.read_text().splitlines()[1])
        is_zombie = Path(f"/proc/{orphan}").exists()
        assert is_zombie is not reap_orphans
        if is_zombie:
            os.waitpid(orphan, 0)
    finally:
        prctl(SUBREAPER, 0)


def serve_once(listener: socket.socket, pipe: Connection) -> None:
    """Send the path of the metrics folder to the client, then stop the service."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    be_ready(pipe)
    connection, _ = listener.accept()
    connection.sendall(os.environ[FOLDER].encode())
    connection.close()
    stop_service()


def test_metrics_folder_is_shared_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as client:
            assert WorkerSupervisor(serve_once, 1, listener).run() == signal.SIGTERM
            folder = client.recv(1000).decode()
        assert "prism-metrics-" in folder
        assert not Path(folder).exists()
        assert FOLDER not in os.environ


def test_metrics_folder_of_operator_is_not_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        WorkerSupervisor(serve_once, 1, listener).run()
        assert client.recv(1000).decode() == str(tmp_path)
    assert tmp_path.is_dir()
