"""Bulk jobs whose processes are killed at random moments: no image twice, none lost.

PRISM_BULK_IMAGES and PRISM_KILL_ROUNDS set the number of images and of kills, PRISM_KILL_SECONDS
the longest delay of a kill. Every second kill waits for a further part before its random delay, so
that on a slow machine not all of them hit the start of processes. Forward passes are slow enough
that a job outlasts all kills.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bulk.contents import CHUNK_IMAGES
from tests.bulk.fakes import gray_files, read_rows, write_gray_model, write_tar
from tests.conftest import ROOT

IMAGES = int(os.environ.get("PRISM_BULK_IMAGES", "20000"))
ROUNDS = int(os.environ.get("PRISM_KILL_ROUNDS", "20"))
SECONDS = float(os.environ.get("PRISM_KILL_SECONDS", "4"))
WORKERS = 2
FORWARD_SECONDS = ROUNDS * SECONDS * WORKERS * CHUNK_IMAGES / IMAGES
SCRIPT = """
import sys
from pathlib import Path
from bulk import commands
from tests.bulk.fakes import FakeLoader, options

if __name__ == "__main__":
    root, workers, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    ray = sys.argv[4] or None
    chosen = options(root / "in", root, part_images=100, workers=workers, ray=ray)
    sys.exit(commands.run(chosen, FakeLoader(root / "models/fake", seconds)))
"""


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, directly or not."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def start(root: Path, ray: str = "", seconds: float = 0) -> "subprocess.Popen[bytes]":
    """Start the command; a forward pass takes `seconds`."""
    script = root / "job.py"
    script.write_text(SCRIPT)
    with (root / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(script), str(root), str(WORKERS), str(seconds), ray],
            env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"},
            stdout=log,
            stderr=log,
        )


def write_source(root: Path) -> int:
    """Write shards of IMAGES images, of which 1% are broken; return the number of these."""
    (root / "in").mkdir()
    files = gray_files(IMAGES)
    for name in list(files)[::100]:
        files[name] = files[name][:30]
    names = list(files)
    for shard in range(10):
        write_tar(root / f"in/{shard}.tar", {name: files[name] for name in names[shard::10]})
    write_gray_model(root / "models")
    return len(names[::100])


def check(root: Path, broken: int) -> None:
    rows = read_rows(root / "out")
    assert len(rows) == IMAGES
    assert len({row["path"] for row in rows}) == IMAGES
    assert sum(row["error"] is not None for row in rows) == broken
    for row in rows:
        if row["error"] is None:
            assert int(row["prediction"]) == int(row["path"][:-4]) % 10


@pytest.mark.parametrize("victim", ["command", "worker"])
def test_random_kills_lose_and_repeat_no_image(tmp_path: Path, victim: str) -> None:
    broken = write_source(tmp_path)
    generator = random.Random(7)
    process = start(tmp_path, seconds=FORWARD_SECONDS)
    progress: list[int] = []
    while len(progress) < ROUNDS:
        wait(tmp_path, process, progress, generator)
        if process.poll() is not None:
            process = restart(tmp_path, process)
        elif victim == "command":
            process.kill()
            process.wait()
            progress.append(parts(tmp_path))
            process = start(tmp_path, seconds=FORWARD_SECONDS)
        # A worker is named by its command line; the first child may be the resource tracker.
        elif workers := [pid for pid in children(process.pid) if is_worker(pid)]:
            os.kill(generator.choice(workers), signal.SIGKILL)
            progress.append(parts(tmp_path))
    while process.wait(timeout=1200) != 0:
        process = restart(tmp_path, process)
    check(tmp_path, broken)
    print(f"{victim}: {IMAGES} images, {broken} broken, {ROUNDS} kills after parts {progress}")


def restart(root: Path, process: "subprocess.Popen[bytes]") -> "subprocess.Popen[bytes]":
    """Run a command again that ended because of three kills without a finished part."""
    log = (root / "log").read_text()[-2000:]
    assert process.returncode == 1, log
    assert "WorkerError" in log, log
    return start(root, seconds=FORWARD_SECONDS)


def test_killed_ray_actors_lose_and_repeat_no_image(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    broken = write_source(tmp_path)
    generator = random.Random(7)
    process = start(tmp_path, "local", FORWARD_SECONDS)
    progress: list[int] = []
    while process.poll() is None:
        wait(tmp_path, process, progress, generator)
        actors = [pid for pid in children(process.pid) if is_actor(pid)]
        if actors and len(progress) < ROUNDS:
            os.kill(generator.choice(actors), signal.SIGKILL)
            progress.append(parts(tmp_path))
    assert process.returncode == 0, (tmp_path / "log").read_text()[-2000:]
    assert len(progress) == ROUNDS
    check(tmp_path, broken)
    print(f"ray: {IMAGES} images, {broken} broken, {ROUNDS} kills after parts {progress}")


def wait(
    root: Path, process: "subprocess.Popen[bytes]", progress: list[int], generator: random.Random
) -> None:
    """Wait for the moment of the next kill, or until the process ends."""
    if len(progress) % 2:
        while parts(root) == progress[-1] and process.poll() is None:
            time.sleep(0.05)
    time.sleep(generator.uniform(0, SECONDS))


def parts(root: Path) -> int:
    """Return the number of finished parts."""
    return len(list((root / "out").glob("part-*")))


def is_worker(pid: int) -> bool:
    return "spawn_main" in command_line(pid)


def is_actor(pid: int) -> bool:
    return "ray::MapWorker" in command_line(pid)


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
