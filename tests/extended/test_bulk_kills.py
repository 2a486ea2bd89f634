"""Bulk jobs whose processes are killed at random moments: no image twice, none lost.

PRISM_BULK_IMAGES and PRISM_KILL_ROUNDS set the number of images and of kills.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bulk.fakes import gray_files, read_rows, write_gray_model, write_tar
from tests.conftest import ROOT

IMAGES = int(os.environ.get("PRISM_BULK_IMAGES", "20000"))
ROUNDS = int(os.environ.get("PRISM_KILL_ROUNDS", "20"))
SCRIPT = """
import sys
from pathlib import Path
from bulk import commands
from tests.bulk.fakes import FakeLoader, options

if __name__ == "__main__":
    root, count = Path(sys.argv[1]), int(sys.argv[2])
    chosen = options(root / "in", root, part_images=100, workers=2, ray=sys.argv[3] or None)
    sys.exit(commands.run(chosen, FakeLoader(root / "models/fake")))
"""


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, directly or not."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def start(root: Path, ray: str = "") -> "subprocess.Popen[bytes]":
    script = root / "job.py"
    script.write_text(SCRIPT)
    with (root / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(script), str(root), str(IMAGES), ray],
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
    process = start(tmp_path)
    kills = 0
    while kills < ROUNDS:
        time.sleep(generator.uniform(0.2, 4))
        if process.poll() is not None:
            break
        # A worker is named by its command line; the first child may be the resource tracker.
        workers = [pid for pid in children(process.pid) if is_worker(pid)]
        if victim == "worker":
            if not workers:
                continue
            os.kill(generator.choice(workers), signal.SIGKILL)
        else:
            process.kill()
            process.wait()
            process = start(tmp_path)
        kills += 1
    code = process.wait(timeout=1200)
    while code != 0 and "3 times" in (tmp_path / "log").read_text()[-2000:]:
        process = start(tmp_path)  # three kills before a unit was finished: the user runs it again
        code = process.wait(timeout=1200)
    assert code == 0, (tmp_path / "log").read_text()[-2000:]
    assert kills > 0
    check(tmp_path, broken)
    print(f"{victim}: {kills} kills, {IMAGES} images, {broken} broken")


def test_killed_ray_actors_lose_and_repeat_no_image(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    broken = write_source(tmp_path)
    generator = random.Random(7)
    process = start(tmp_path, "local")
    kills = 0
    while process.poll() is None:
        time.sleep(generator.uniform(0.5, 3))
        actors = [pid for pid in children(process.pid) if is_actor(pid)]
        if actors and kills < ROUNDS:
            os.kill(generator.choice(actors), signal.SIGKILL)
            kills += 1
    assert process.returncode == 0, (tmp_path / "log").read_text()[-2000:]
    assert kills > 0
    check(tmp_path, broken)
    print(f"ray: {kills} kills, {IMAGES} images, {broken} broken")


def is_worker(pid: int) -> bool:
    return "spawn_main" in command_line(pid)


def is_actor(pid: int) -> bool:
    return "ray::MapWorker" in command_line(pid)


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
