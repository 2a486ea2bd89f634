"""What the README tells people to type, typed."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch

from backend.inference.models import artifact, networks

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


COMMANDS = [
    line.split("  #")[0].strip() for block in blocks("bash") for line in block.splitlines() if line
]


def commands(program: str) -> list[str]:
    """The README's commands that call `program`."""
    return [line for line in COMMANDS if line.split()[0] == program]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the commands read, that they may write into."""
    for name in ("backend", "calibration", "client", "evaluation", "frontend", "training"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "models").mkdir()
    return tmp_path


def run(command: str, checkout: Path, url: str = "") -> str:
    """Run a command of the README in `checkout`, against the backend at `url`."""
    here = command.replace("http://localhost:8000", url)
    here = re.sub(r"^\.venv/bin/python", shlex.quote(sys.executable), here)
    result = subprocess.run(here, shell=True, cwd=checkout, capture_output=True, text=True)
    assert result.returncode == 0, f"{here}\n{result.stdout}{result.stderr}"
    return result.stdout


def test_every_command_is_tried_here() -> None:
    assert {line.split()[0] for line in COMMANDS} == {"make", "curl", ".venv/bin/python"}


def test_the_words_for_make_exist() -> None:
    assert "make run" in COMMANDS
    assert "make test" in COMMANDS
    for command in commands("make"):
        subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_the_uploads_are_answered_as_it_says(checkout: Path, backend_url: str) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    single, batch = commands("curl")
    assert json.loads(run(single, checkout, backend_url))["prediction"] == "7"
    lines = [json.loads(line) for line in run(batch, checkout, backend_url).splitlines()]
    assert [line["prediction"] for line in lines] == ["7", "3"]


def test_the_python_example_prints_the_digit(checkout: Path, backend_url: str) -> None:
    (example,) = blocks("python")
    printed = run(shlex.join([sys.executable, "-c", example]), checkout, backend_url)
    label, confidence = printed.split()
    assert label == "7"
    assert 0 < float(confidence) <= 1


def test_the_checkpoint_of_the_pytorch_example_becomes_a_model(checkout: Path) -> None:
    torch.save(networks.build("mnist-net").state_dict(), checkout / "mnist_cnn.pt")
    _, command = commands(".venv/bin/python")
    run(command, checkout)
    model = artifact.read(checkout / "models" / "my-digits")
    assert model.manifest.labels == tuple("0123456789")
    assert model.onnx is not None


def test_own_pictures_in_a_zip_are_measured(checkout: Path) -> None:
    (checkout / "models" / "mnist-cnn").symlink_to(ROOT / "models" / "mnist-cnn")
    with ZipFile(checkout / "my-digits.zip", "w") as zipped:
        zipped.write(ROOT / "frontend" / "examples" / "seven.png", "7/seven.png")
    command, _ = commands(".venv/bin/python")
    assert "100" in run(command, checkout)
    assert list(checkout.glob("evaluation-mnist-cnn-*/report.html"))
