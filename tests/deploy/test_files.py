"""What the container and cloud files say, checked without an engine or a cloud."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = ("backend.dockerfile", "frontend.dockerfile")
BIN = Path(sys.executable).parent


def read(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ("vendor.compose-spec", "compose.yaml"),
        ("vendor.github-workflows", ".github/workflows/ci.yml"),
    ],
)
def test_the_file_is_valid_by_its_published_schema(schema: str, name: str) -> None:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", schema, name]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_linter_for_dockerfiles_has_nothing_to_say(name: str) -> None:
    hadolint = shutil.which("hadolint", path=str(BIN))
    if hadolint is None:
        pytest.skip("hadolint has no build for this machine")
    result = subprocess.run([hadolint, name], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_runs_as_a_numeric_user_and_listens_where_port_says(name: str) -> None:
    text = read(name)
    user = re.findall(r"^USER (.*)$", text, re.M)[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert re.search(r"^ENV .*?PORT=\d+", text, re.M | re.S)
    assert re.search(r"HEALTHCHECK .*?os\.environ\['PORT'\]", text, re.S)
    assert "curl" not in text
    command = re.findall(r"^CMD (.*)$", text, re.M)[-1]
    assert command.startswith("["), "a shell in between would keep SIGTERM to itself"
    assert "sh" not in command or '"exec ' in command


def test_the_default_target_of_the_backend_has_no_torch() -> None:
    *_, last = re.split(r"^FROM ", read("backend.dockerfile"), flags=re.M)
    assert last.startswith("base AS serving")
    assert "torch" not in last


def test_the_image_of_the_page_leaves_open_where_the_backend_is() -> None:
    settings = re.findall(r"^ENV (.*?[^\\])$", read("frontend.dockerfile"), re.M | re.S)
    assert settings
    assert not any("BACKEND" in setting for setting in settings), "Cloud Run would not be asked"


def test_only_named_folders_get_into_a_build() -> None:
    rules = [line for line in read(".dockerignore").splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        source.rstrip("/")
        for name in DOCKERFILES
        for source in re.findall(r"^COPY (?!--from)(\S+) ", read(name), re.M)
    }
    assert {"requirements_*.txt" if "requirements" in s else s for s in copied} == allowed


def choose(models: str, tree: Path) -> subprocess.CompletedProcess[str]:
    """Run the step that chooses the models of the backend's image: from `tree`/all."""
    text = read("backend.dockerfile").partition("ARG MODELS=")[2]
    step = re.search(r"^RUN (.*[^\\])$", text, re.M | re.S)
    assert step
    command = step[1].partition("\n\n")[0].replace("/models", str(tree / "models"))
    return subprocess.run(
        ["sh", "-c", command.replace("\\\n", " ")],
        cwd=tree / "all",
        env={**os.environ, "MODELS": models},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("models", "held"),
    [("", ["cats", "digits", "dogs"]), ("dogs", ["dogs"]), ("cats, digits", ["cats", "digits"])],
)
def test_a_build_argument_names_the_models_of_the_image(
    models: str, held: list[str], tmp_path: Path
) -> None:
    for name in ("cats", "digits", "dogs"):
        (tmp_path / "all" / name).mkdir(parents=True)
        (tmp_path / "all" / name / "manifest.json").touch()
    assert choose(models, tmp_path).returncode == 0
    found = sorted(path.parent.name for path in (tmp_path / "models").glob("*/manifest.json"))
    assert found == held


def test_a_model_that_is_not_there_ends_the_build(tmp_path: Path) -> None:
    (tmp_path / "all" / "dogs").mkdir(parents=True)
    done = choose("cats,dogs", tmp_path)
    assert done.returncode != 0
    assert "cats" in done.stderr
