"""The training's command line on small sources, in a process of its own that may kill itself."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from tests.conftest import ROOT

SOURCES = {
    "VALIDATION": 10,
    "UCI_VARIANTS": 1,
    "PEN_VARIANTS": 2,
    "NOTHING_COUNT": 10,
    "NOTHING_VALIDATION": 10,
}


def run(
    folder: Path, *arguments: str, die_after: int | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Train in `folder`; with `die_after`, SIGKILL in the middle of the epoch after that one."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "WANDB_"))}
    return subprocess.run(
        [sys.executable, "-m", "tests.training.small", *arguments],
        cwd=folder,
        env={**ours, "PYTHONPATH": str(ROOT), "DIE_AFTER": str(die_after or 0), **environ},
        capture_output=True,
        text=True,
        timeout=300,
    )


def _die_after(epochs: int) -> None:
    """Kill this process at the second batch after so many checkpoints were written."""
    from training.data.augmentation import augment
    from training.fit import checkpoints, loop

    saved, batches = 0, 0
    save = checkpoints.Checkpoints.save

    def counted(kept: checkpoints.Checkpoints, epoch: int, state: checkpoints.State) -> None:
        nonlocal saved
        save(kept, epoch, state)
        saved += 1

    def deadly(*given: Any) -> Any:
        nonlocal batches
        batches += saved >= epochs
        if batches == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return augment(*given)

    mock.patch.object(checkpoints.Checkpoints, "save", counted).start()
    mock.patch.object(loop, "augment", deadly).start()


if __name__ == "__main__":
    from training import train
    from training.data import sources

    for name, value in SOURCES.items():
        setattr(sources, name, value)
    if os.environ["DIE_AFTER"] != "0":
        _die_after(int(os.environ["DIE_AFTER"]))
    train.main(sys.argv[1:])
