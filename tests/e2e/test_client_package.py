"""The wheel of the client: its content, and its use in a new environment."""

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

import client
from tests.conftest import ROOT
from tests.images import encoded, seven

PROGRAM = """
import asyncio
import sys
from pathlib import Path

from prism_client import Classification, Client, ItemError
from prism_client.aio import AsyncClient


def classify(url: str, folder: Path) -> list[str]:
    with Client(url, max_attempts=5) as client:
        labels = [client.classify((folder / "seven.png").read_bytes(), filename="x").prediction]
        for path, result in client.classify_folder(folder):
            labels.append(result.prediction if isinstance(result, Classification) else path.name)
    return labels


async def classify_batch(url: str, folder: Path) -> list[Classification | ItemError]:
    async with AsyncClient(url) as client:
        image = (folder / "seven.png").read_bytes()
        return [result async for result in client.classify_batch([("x.png", image)])]


print(classify(sys.argv[1], Path(sys.argv[2])))
print(len(asyncio.run(classify_batch(sys.argv[1], Path(sys.argv[2])))))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel that `make wheel` builds, from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), "client"]
    # Without a relative PYTHONPATH: the build runs in the folder, whose types.py would be found.
    environ = os.environ | {"PYTHONPATH": ""}
    subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the programs of a new environment with the wheel.

    The packages that the client needs are those of the test environment.
    """
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", f"--python={programs}/python", "install"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    packages = [path for path in sys.path if path.endswith("site-packages")]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    lines = [sysconfig.get_paths()["purelib"], *packages]
    (folder / "lib" / version / "site-packages" / "test.pth").write_text("\n".join(lines))
    return programs


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an image and a file that is not an image."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "seven.png").write_bytes(encoded(seven()))
    (folder / "text.png").write_text("no image")
    return folder


def run(*command: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command outside the repository, so that only the installed package is found."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        list(map(str, command)),
        cwd="/",
        env=variables | environ,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_wheel_contains_the_client_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = next(name for name in names if name.endswith("METADATA"))
        metadata = archive.read(info).decode()
    modules = {f"prism_client/{path.name}" for path in (ROOT / "client").glob("*.py")}
    folder = info.rpartition("/")[0]
    files = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    assert names == modules | {"prism_client/py.typed"} | {f"{folder}/{file}" for file in files}
    assert f"\nVersion: {client.__version__}\n" in metadata
    assert "\nRequires-Dist: requests" in metadata
    assert "\nProvides-Extra: async\n" in metadata


def test_command_classifies_with_a_backend(
    environment: Path, images: Path, backend_url: str
) -> None:
    helped = run(environment / "prism", "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "classify" in helped.stdout
    table = run(environment / "prism", "classify", images, PRISM_URL=backend_url)
    assert table.returncode == 1
    assert table.stdout.splitlines()[1].split()[1:] == ["7", str(images / "seven.png")]
    assert table.stderr.startswith(f"{images}/text.png: ")
    found = run(environment / "prism", "classify", images / "seven.png", "--json",
                "--model", "mnist-cnn", "--url", backend_url)  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["model"]["name"] == "mnist-cnn"


def test_example_of_the_documentation_prints_its_table(environment: Path, backend_url: str) -> None:
    page = (ROOT / "docs" / "clients.md").read_text()
    example = page.partition("## The command `prism`")[2]
    command = re.findall(r"```bash\n(prism .*)\n```", example)[0].split()
    (table,) = re.findall(r"```text\n(.*?)```", example, re.S)
    command[command.index("--url") + 1] = backend_url
    found = subprocess.run(
        [environment / "prism", *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout == table


def test_command_ends_silently_when_its_reader_does(
    environment: Path, images: Path, backend_url: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [f"{environment}/prism", "classify", f"{images}/seven.png", "--url", backend_url]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=120)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")


def test_typed_program_passes_the_type_checker_and_runs(
    environment: Path, images: Path, backend_url: str, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    checked = run(sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache",
                  "--python-executable", environment / "python", program)  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    result = run(environment / "python", program, backend_url, images)
    assert result.stdout == "['7', '7', 'text.png']\n1\n", result.stderr
