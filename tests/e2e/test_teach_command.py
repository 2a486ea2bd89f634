"""`python -m teach` against a running backend."""

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from client import Client
from tests.conftest import ROOT, free_port
from tests.e2e.backend_process import BackendProcess
from tests.images import encoded

IMAGES = 6  # of each class
ENVIRON = {
    "PRISM_MODELS_OPEN": "true",
    "PRISM_MODELS": "photos",
    "PRISM_TIMEOUT": "300",
    "PRISM_MEASURE": "false",
    "PRISM_HISTORY": "false",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return class folders with circles and squares."""
    folder = tmp_path_factory.mktemp("shapes")
    for label in ("circle", "square"):
        (folder / label).mkdir()
        for number in range(IMAGES):
            (folder / label / f"{number}.png").write_bytes(draw(label, number))
    return folder


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    data_dir = str(tmp_path_factory.mktemp("data"))
    with BackendProcess(None, PRISM_DATA_DIR=data_dir, **ENVIRON) as process:
        process.wait_until_ready()
        yield process


def draw(label: str, number: int) -> bytes:
    image = Image.new("RGB", (96, 96), (200 + 5 * number, 220, 240 - 5 * number))
    pen = ImageDraw.Draw(image)
    box = (10 + 2 * number, 15, 70 + 2 * number, 75)
    (pen.ellipse if label == "circle" else pen.rectangle)(box, fill=(10 * number, 30, 60))
    return encoded(image)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "teach", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=600
    )


def test_taught_model_is_served_at_once(backend: BackendProcess, source: Path) -> None:
    result = run(source, "--name", "shapes", "--url", backend.url, "--reason", "first images")
    assert result.returncode == 0, result.stderr
    assert f"Served: {backend.url} shapes@1" in result.stdout
    with Client(backend.url) as client:
        predictions = {
            label: client.classify(draw(label, 9), filename="x.png", model="shapes").prediction
            for label in ("circle", "square")
        }
        assert predictions == {"circle": "circle", "square": "square"}
        (version,) = client.versions("shapes").versions
        assert version.reason == "first images"


def test_commands_of_the_readme_teach_and_classify(
    backend: BackendProcess, source: Path, tmp_path: Path
) -> None:
    """The README writes FOLDER for the class folders."""
    lines = (ROOT / "README.md").read_text().splitlines()
    (teach,) = (line for line in lines if line.startswith(".venv/bin/python -m teach FOLDER"))
    (classify,) = (line for line in lines if "/classify?model=my-classes" in line)
    (tmp_path / "image.jpg").write_bytes(draw("circle", 9))
    script = "\n".join(
        line.replace(".venv/bin/python", shlex.quote(sys.executable))
        .replace("FOLDER", shlex.quote(str(source)), 1)
        .replace("http://localhost:8000", backend.url)
        .replace("@image.jpg", f"@{tmp_path}/image.jpg")
        for line in (teach, classify)
    )
    output = subprocess.run(
        script, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True
    ).stdout
    assert json.loads(output.splitlines()[-1])["prediction"] == "circle"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "photos"], "reserved"),
        (["--name", "shapes", "--backbone", "missing"], "The model is not served"),
        (["--name", "shapes", "--url", f"http://127.0.0.1:{free_port()}"], "not reachable"),
    ],
)
def test_refusals_are_errors_in_one_line(
    backend: BackendProcess, source: Path, arguments: list[str], message: str
) -> None:
    result = run(source, "--url", backend.url, *arguments)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in result.stderr


def test_ctrl_c_stops_without_a_model(backend: BackendProcess, source: Path) -> None:
    with subprocess.Popen(
        command(source, "--name", "stopped", "--url", backend.url),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        process.stderr.read(1)  # the progress bar: the images are being sent
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
        assert process.wait(timeout=600) == 130
    assert errors.rstrip().endswith("Stopped.")
    with Client(backend.url) as client:
        assert "stopped" not in {model.name for model in client.models().models}
