"""The commands and the code of the README run."""

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


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


COMMANDS = [
    line.split("  #")[0].strip()
    for block in code_blocks("bash")
    for line in block.splitlines()
    if line
]


def commands(program: str) -> list[str]:
    """Return the commands of the README that begin with `program`."""
    return [line for line in COMMANDS if line.startswith(f"{program} ")]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a writable folder with links to everything that the commands read."""
    for name in ("backend", "calibration", "client", "evaluation", "frontend", "training"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "models").mkdir()
    return tmp_path


def run(command: str, checkout: Path, url: str = "") -> str:
    """Run a command of the README in `checkout` with the backend at `url`; return its output."""
    script = command.replace("http://localhost:8000", url)
    script = re.sub(r"^\.venv/bin/python", shlex.quote(sys.executable), script)
    result = subprocess.run(script, shell=True, cwd=checkout, capture_output=True, text=True)
    assert result.returncode == 0, f"{script}\n{result.stdout}{result.stderr}"
    return result.stdout


def test_all_programs_of_the_readme_are_tested() -> None:
    assert {line.split()[0] for line in COMMANDS} == {"make", "curl", ".venv/bin/python"}


def test_make_targets_exist() -> None:
    assert "make run" in COMMANDS
    assert "make test" in COMMANDS
    for command in commands("make"):
        subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_curl_commands_return_the_documented_predictions(checkout: Path, backend_url: str) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    single, batch, _ = commands("curl")  # the last is tested with the command of `teach`
    assert json.loads(run(single, checkout, backend_url))["prediction"] == "Egyptian Mau"
    lines = [json.loads(line) for line in run(batch, checkout, backend_url).splitlines()]
    assert [line["prediction"] for line in lines] == ["7", "3"]


def test_python_example_prints_the_prediction(checkout: Path, backend_url: str) -> None:
    (example,) = code_blocks("python")
    output = run(shlex.join([sys.executable, "-c", example]), checkout, backend_url)
    label, confidence = output.split()
    assert label == "7"
    assert 0 < float(confidence) <= 1


def test_pytorch_checkpoint_is_packaged(checkout: Path) -> None:
    torch.save(networks.build("mnist-net").state_dict(), checkout / "mnist_cnn.pt")
    (command,) = commands(".venv/bin/python -m training.package")
    run(command, checkout)
    model = artifact.read(checkout / "models" / "my-digits")
    assert model.manifest.labels == tuple("0123456789")
    assert model.onnx is not None


def test_zip_of_images_is_evaluated(checkout: Path) -> None:
    (checkout / "models" / "mnist-cnn").symlink_to(ROOT / "models" / "mnist-cnn")
    with ZipFile(checkout / "my-digits.zip", "w") as archive:
        archive.write(ROOT / "frontend" / "examples" / "seven.png", "7/seven.png")
    (command,) = commands(".venv/bin/python -m evaluation")
    assert "100" in run(command, checkout)
    assert list(checkout.glob("evaluation-mnist-cnn-*/report.html"))
