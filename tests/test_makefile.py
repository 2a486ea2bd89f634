"""The words of the Makefile, with a stand-in for Python that writes down what it was asked."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ["sh", "make", "awk", "sed", "grep", "tail", "touch", "mkdir", "test", "printf", "echo"]
# Pretends to be a Python of any kind: FAKE says what it lacks, CALLS is where it keeps its diary.
STAND_IN = """#!/bin/sh
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
    """A folder with the Makefile and the requirements, on a machine with hardly anything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "prism"
        self.folder.mkdir()
        for source in (ROOT / "Makefile", *ROOT.glob("requirements_*.txt")):
            shutil.copy(source, self.folder)
        shutil.copytree(ROOT / "requirements", self.folder / "requirements")
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in (*TOOLS, "cp"):
            found = shutil.which(tool)
            assert found, f"{tool} is not installed"
            (self.bin / tool).symlink_to(found)
        self.calls = folder / "calls"

    def add_python(self, name: str = "python3") -> None:
        path = self.bin / name
        path.write_text(STAND_IN)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def make(self, *words: str, lacks: str = "") -> subprocess.CompletedProcess[str]:
        self.calls.write_text("")
        environ = {"PATH": str(self.bin), "FAKE": lacks, "CALLS": str(self.calls)}
        return subprocess.run(
            ["make", *words], cwd=self.folder, env=environ, capture_output=True, text=True
        )

    def installed(self) -> list[str]:
        """What pip was asked to install, one line for each time."""
        return [call for call in self.calls.read_text().splitlines() if "pip" in call]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def said(result: subprocess.CompletedProcess[str]) -> str:
    """The one line about what went wrong, without make's own last word."""
    assert result.returncode != 0
    (line,) = [text for text in result.stderr.splitlines() if not text.startswith("make: ***")]
    return line


def test_help_is_the_default_and_names_every_word() -> None:
    text = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.M)
    words = set(phony.split()) - {"force"}
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z0-9-]+)", shown, re.M)) == words


def test_without_a_suitable_python_one_line_says_what_to_do(checkout: Checkout) -> None:
    assert "Python 3.11 or newer" in said(checkout.make("run"))
    checkout.add_python()
    line = said(checkout.make("run", lacks="old"))
    assert "Python 3.11 or newer" in line
    assert "make run PYTHON=" in line


def test_a_python_without_its_venv_module_is_one_line(checkout: Checkout) -> None:
    checkout.add_python()
    assert "python3 has no venv module" in said(checkout.make("run", lacks="no-venv"))


def test_another_python_is_found_by_itself(checkout: Checkout) -> None:
    checkout.add_python("python3.12")
    assert checkout.make("setup").returncode == 0
    assert (checkout.folder / ".venv/bin/python").exists()


def test_an_environment_that_somebody_else_made_is_kept(checkout: Checkout) -> None:
    checkout.add_python()
    environment = checkout.folder / ".venv" / "bin"
    environment.mkdir(parents=True)
    shutil.copy(checkout.bin / "python3", environment / "python")
    assert "older than 3.11" in said(checkout.make("setup", lacks="old"))
    assert checkout.make("setup").returncode == 0
    assert checkout.installed()
    assert "venv" not in checkout.calls.read_text().replace("requirements", "")


def test_a_failed_install_is_one_line_that_names_the_log_and_is_tried_again(
    checkout: Checkout,
) -> None:
    checkout.add_python()
    line = said(checkout.make("setup", lacks="no-registry"))
    assert "no such project" in line
    assert "install.log" in line
    assert "no such project" in (checkout.folder / "install.log").read_text()
    assert checkout.make("setup").returncode == 0
    assert checkout.installed()


def test_run_installs_what_running_needs_and_no_torch(checkout: Checkout) -> None:
    checkout.add_python()
    assert checkout.make("run").returncode == 0
    (install,) = checkout.installed()
    assert "-r requirements/run.txt" in install
    assert not any("torch" in line for line in closure("requirements/run.txt"))
    assert "-m deploy.local --backend-port=8000 --frontend-port=8501" in checkout.calls.read_text()


def closure(name: str) -> set[str]:
    """Every requirement that `pip install -r name` would see."""
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    found = {line for line in lines if line and not line.startswith("-r")}
    for line in lines:
        if line.startswith("-r"):
            included = (ROOT / name).parent / line.removeprefix("-r").strip()
            found |= closure(os.path.relpath(included, ROOT))
    return found


def test_a_second_call_installs_nothing(checkout: Checkout) -> None:
    checkout.add_python()
    for word in ("run", "setup", "test"):
        assert checkout.make(word).returncode == 0
    for word in ("run", "setup", "test"):
        assert checkout.make(word).returncode == 0
        assert not checkout.installed()


def test_a_changed_requirement_is_installed(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.make("run")
    stamp = checkout.folder / ".venv/.stamps/run"
    later = stamp.stat().st_mtime + 10
    os.utime(checkout.folder / "requirements/serving.txt", (later, later))
    checkout.make("run")
    assert checkout.installed()


def test_an_environment_that_lost_its_python_is_made_anew(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.make("run")
    (checkout.folder / ".venv/bin/python").unlink()
    assert checkout.make("run").returncode == 0
    assert checkout.installed()


def test_torch_is_asked_of_the_cpu_index_first_without_its_dependencies(
    checkout: Checkout,
) -> None:
    checkout.add_python()
    checkout.make("setup")
    first, second = checkout.installed()
    assert "--index-url https://download.pytorch.org/whl/cpu --retries 0" in first
    assert "--no-deps" in first
    assert first.endswith("torch torchvision")
    assert "--index-url" not in second


def test_where_the_cpu_index_does_not_answer_the_default_registry_serves_quietly(
    checkout: Checkout,
) -> None:
    checkout.add_python()
    result = checkout.make("setup", lacks="no-index")
    assert result.returncode == 0
    assert result.stderr == ""
    assert "-r requirements/dev.txt" in checkout.installed()[-1]


def test_an_empty_torch_index_skips_the_try(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.make("setup", "TORCH_INDEX=")
    (only,) = checkout.installed()
    assert "-r requirements/dev.txt" in only


def test_train_downloads_unless_told_where_the_data_is(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.make("train")
    assert "training.train mnist-cnn --out models/" in checkout.calls.read_text()
    checkout.make("train", "DATA=some where")
    assert "training.train mnist-cnn --data some where --out models/" in checkout.calls.read_text()


def test_train_makes_the_model_that_is_named(checkout: Checkout) -> None:
    checkout.add_python()
    checkout.make("train", "MODEL=mnist-tree")
    assert "training.train mnist-tree --out models/" in checkout.calls.read_text()


def test_images_are_built_with_the_engine_that_was_named(checkout: Checkout) -> None:
    assert "CONTAINER_ENGINE" in said(checkout.make("images", "CONTAINER_ENGINE=absent"))
    checkout.add_python("engine")
    assert checkout.make("images", "CONTAINER_ENGINE=engine --flag").returncode == 0
    backend, frontend = checkout.calls.read_text().splitlines()
    assert backend == "--flag build -f backend.dockerfile -t prism-backend ."
    assert frontend == "--flag build -f frontend.dockerfile -t prism-frontend ."
