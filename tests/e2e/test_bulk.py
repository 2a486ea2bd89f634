"""`python -m bulk` with a shipped model, stopped by Ctrl-C while its processes start."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from tests.bulk.fakes import gray_files, write_tar
from tests.conftest import ROOT

IMAGES = 2_000


def command(source: Path, out: Path) -> Sequence[str]:
    models = ["--models-dir", str(ROOT / "models"), "--model", "mnist-cnn"]
    return [sys.executable, "-m", "bulk", str(source), *models, "--workers", "2", "--out", str(out)]


def has_children(pid: int) -> bool:
    """Whether a process has started more than the resource tracker of multiprocessing."""
    return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) > 1


def test_ctrl_c_stops_and_the_same_command_continues(tmp_path: Path) -> None:
    source = write_tar(tmp_path / "digits.tar", gray_files(IMAGES))
    line, log = command(source, tmp_path / "out"), tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            line, cwd=ROOT, stdout=file, stderr=file, start_new_session=True, env=os.environ
        )
    while not has_children(process.pid):
        assert process.poll() is None, log.read_text()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(60) == 130, log.read_text()
    text = log.read_text()
    assert "Run the same command again to continue." in text
    assert "Traceback" not in text

    again = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    paths = pq.read_table(tmp_path / "out", columns=["path"])["path"].to_pylist()
    assert len(paths) == len(set(paths)) == IMAGES
