"""Environments of their own, in which tests run other frameworks and clients."""

import subprocess
import sys
from pathlib import Path
from typing import Any


def create(folder: Path, *packages: str, with_ours: bool = False) -> Path:
    """Return the interpreter of a new environment with `packages`, which are arguments of pip.

    With `with_ours`, it has the packages of this environment too, such as its torch.
    """
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    if with_ours:
        (site,) = folder.glob("lib/python*/site-packages")
        ours = [path for path in sys.path if path.endswith("-packages")]
        (site / "ours.pth").write_text("\n".join(ours))
    pip: list[Any] = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *packages], check=True)
    return python
