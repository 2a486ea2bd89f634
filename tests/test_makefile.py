"""Tests of the Makefile with a fake Python that records its arguments."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ["sh", "make", "awk", "sed", "grep", "tail", "touch", "mkdir", "test", "printf", "echo"]
# A fake Python interpreter: FAKE lists what it lacks, CALLS is the file that records its calls.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
  *version_info*) case "$FAKE" in *old*) exit 1;; esac; exit 0;;
  *ensurepip*) case "$FAKE" in *no-venv*) exit 1;; esac; exit 0;;
  -c*) exit 0;;
  "-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python;;
esac
echo "$*" >>"$CALLS"
case "$*" in
  *--index-url*) case "$FAKE" in *no-index*) echo "ERROR: no such host"; exit 1;; esac;;
  *"install"*-r*) case "$FAKE" in *no-registry*) echo "ERROR: no such project"; exit 1;; esac;;
esac
"""


class Checkout:
    """A folder with the Makefile and the requirements, and a PATH with a minimum of tools."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "prism"
        self.folder.mkdir()
        for source in (ROOT / "Makefile", *ROOT.glob("requirements_*.txt")):
            shutil.copy(source, self.folder)
        shutil.copytree(ROOT / "requirements", self.folder / "requirements")
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in (*TOOLS, "cp"):
            path = shutil.which(tool)
            assert path, f"{tool} is not installed"
            (self.bin / tool).symlink_to(path)
        self.calls = folder / "calls"

    def add_python(self, name: str = "python3") -> None:
        path = self.bin / name
        path.write_text(FAKE_PYTHON)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def make(self, *arguments: str, lacks: str = "") -> subprocess.CompletedProcess[str]:
        self.calls.write_text("")
        environ = {"PATH": str(self.bin), "FAKE": lacks, "CALLS": str(self.calls)}
        return subprocess.run(
            ["make", *arguments], cwd=self.folder, env=environ, capture_output=True, text=True
        )

    def pip_calls(self) -> list[str]:
        """Return the arguments of each call of pip."""
        return [call for call in self.calls.read_text().splitlines() if "pip" in call]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def error_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return the only line on stderr, without that of make itself."""
    assert result.returncode != 0
    (line,) = [text for text in result.stderr.splitlines() if not text.startswith("make: ***")]
    return line


def test_help_is_the_default_and_lists_all_targets() -> None:
    text = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.M)
    targets = set(phony.split()) - {"force"}
    output = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z0-9-]+)", output, re.M)) == targets


def test_missing_or_old_python_prints_one_line(checkout: Checkout) -> None:
    assert "Python 3.11 or newer" in error_line(checkout.make("run"))
    checkout.add_python()
    line = error_line(checkout.make("run", lacks="old"))
    assert "Python 3.11 or newer" in line
    assert "make run PYTHON=" in line


def test_python_without_venv_prints_one_line(checkout: Checkout) -> None:
    checkout.add_python()
    assert "python3 has no venv module" in error_line(checkout.make("run", lacks="no-venv"))


def test_versioned_python_is_detected(checkout: Checkout) -> None:
    checkout.add_python("python3.12")
    assert checkout.make("setup").returncode == 0
    assert (checkout.folder / ".venv/bin/python").exists()


def test_existing_environment_is_reused(checkout: Checkout) -> None:
    checkout.add_python()
    environment = checkout.folder / ".venv" / "bin"
    environment.mkdir(parents=True)
    shutil.copy(checkout.bin / "python3", environment / "python")
    assert "older than 3.11" in error_line(checkout.make("setup", lacks="old"))
    assert checkout.make("setup").returncode == 0
    assert checkout.pip_calls()
    assert "venv" not in checkout.calls.read_text().replace("requirements", "")


def test_failed_installation_prints_one_line_and_is_repeated(
    checkout: Checkout,
) -> None:
    checkout.add_python()
    line = error_line(checkout.make("setup", lacks="no-registry"))
    assert "no such project" in line
    assert "install.log" in line
    assert "no such project" in (checkout.folder / "install.log").read_text()
    assert checkout.make("setup").returncode == 0
    assert checkout.pip_calls()


def test_run_installs_requirements_without_torch(checkout: Checkout) -> None:
    checkout.add_python()
    assert checkout.make("run").returncode == 0
    (install,) = checkout.pip_calls()
    assert "-r requirements/run.txt" in install
    assert not any("torch" in line for line in all_requirements("requirements/run.txt"))
    assert "-m deploy.local --backend-port=8000 --frontend-port=8501" in checkout.calls.read_text()


def all_requirements(name: str) -> set[str]:
    """Return all requirements that `pip install -r name` reads."""
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    requirements = {line for line in lines if line and not line.startswith("-r")}
    for line in lines:
        if line.startswith("-r"):
            included = (ROOT / name).parent / line.removeprefix("-r").strip()
            requirements |= all_requirements(os.path.relpath(included, ROOT))
    return requirements


def test_second_call_installs_nothing(checkout: Checkout) -> None:
    checkout.add_python()
    for target in ("run", "setup", "test"):
        assert checkout.make(target).returncode == 0
    for target in ("run", "setup", "test"):
        assert checkout.make(target).returncode == 0
        assert not checkout.pip_calls()


def test_changed_requirements_are_installed(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.make("run")
    stamp = checkout.folder / ".venv/.stamps/run"
    later = stamp.stat().st_mtime + 10
    os.utime(checkout.folder / "requirements/serving.txt", (later, later))
    checkout.make("run")
    assert checkout.pip_calls()


def test_environment_without_python_is_recreated(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.make("run")
    (checkout.folder / ".venv/bin/python").unlink()
    assert checkout.make("run").returncode == 0
    assert checkout.pip_calls()


def test_torch_is_installed_from_the_cpu_index_without_dependencies(
    checkout: Checkout,
) -> None:
    checkout.add_python()
    checkout.make("setup")
    first, second = checkout.pip_calls()
    assert "--index-url https://download.pytorch.org/whl/cpu --retries 0" in first
    assert "--no-deps" in first
    assert first.endswith("torch torchvision")
    assert "--index-url" not in second


def test_unreachable_cpu_index_falls_back_to_the_default_registry(
    checkout: Checkout,
) -> None:
    checkout.add_python()
    result = checkout.make("setup", lacks="no-index")
    assert result.returncode == 0
    assert result.stderr == ""
    assert "-r requirements/dev.txt" in checkout.pip_calls()[-1]


def test_empty_torch_index_skips_the_cpu_index(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.make("setup", "TORCH_INDEX=")
    (only,) = checkout.pip_calls()
    assert "-r requirements/dev.txt" in only


def test_train_passes_the_data_folder_if_given(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.make("train")
    assert "training.train mnist-cnn --out models/" in checkout.calls.read_text()
    checkout.make("train", "DATA=some where")
    assert "training.train mnist-cnn --data some where --out models/" in checkout.calls.read_text()


def test_train_passes_the_model_name(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.make("train", "MODEL=mnist-tree")
    assert "training.train mnist-tree --out models/" in checkout.calls.read_text()


def test_images_are_built_with_the_given_engine(checkout: Checkout) -> None:
    assert "CONTAINER_ENGINE" in error_line(checkout.make("images", "CONTAINER_ENGINE=absent"))
    checkout.add_python("engine")
    assert checkout.make("images", "CONTAINER_ENGINE=engine --flag").returncode == 0
    backend, frontend = checkout.calls.read_text().splitlines()
    assert backend == "--flag build -f backend.dockerfile -t prism-backend ."
    assert frontend == "--flag build -f frontend.dockerfile -t prism-frontend ."


def test_lock_compiles_every_requirements_file_of_the_images(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.make("setup")
    shutil.copy(checkout.bin / "python3", checkout.folder / ".venv/bin/uv")
    assert checkout.make("lock", "UPGRADE=1").returncode == 0
    calls = checkout.calls.read_text().splitlines()
    locks = {path.name for path in (ROOT / "requirements").glob("*.lock")}
    assert {call.rpartition("-o requirements/")[2] for call in calls} == locks
    for call in calls:
        assert {"--generate-hashes", "--only-binary=:all:", "--upgrade"} <= set(call.split())
        assert "--python-version=3.11" in call


def test_fuzz_passes_the_minutes(checkout: Checkout) -> None:
    checkout.add_python()
    assert checkout.make("fuzz", "MINUTES=3", "ARGS=--targets images").returncode == 0
    assert "-m tests.fuzz --minutes 3 --targets images" in checkout.calls.read_text()


def test_sbom_uses_the_given_engine(checkout: Checkout) -> None:
    checkout.add_python()
    assert checkout.make("sbom", "CONTAINER_ENGINE=podman --root x").returncode == 0
    assert "-m deploy.sbom --engine podman --root x" in checkout.calls.read_text()
