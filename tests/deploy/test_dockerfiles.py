"""Dockerfiles and CI files, checked without a container engine."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.container_images import BACKEND, FRONTEND, Service
from tests.client.fake_server import FakeResponse, serving
from tests.conftest import ROOT, free_port
from tests.deploy.schemas import schema_errors

DOCKERFILES = ("backend.dockerfile", "frontend.dockerfile")
BIN = Path(sys.executable).parent


def read(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("name", ["ci", "locks"])
def test_workflow_is_valid_by_the_published_schema(name: str) -> None:
    assert schema_errors("vendor.github-workflows", ROOT / f".github/workflows/{name}.yml") == ""


def test_renovate_pins_images_and_actions_by_digest() -> None:
    path = ROOT / ".github/renovate.json"
    assert schema_errors("vendor.renovate", path) == ""
    config = json.loads(path.read_text())
    assert {"docker:pinDigests", "helpers:pinGitHubActionDigests"} <= set(config["extends"])
    managers = {"dockerfile", "docker-compose", "cloudbuild", "github-actions"}
    assert managers <= set(config["enabledManagers"])


def test_workflow_changes_the_repository_only_where_it_updates_the_locks() -> None:
    ci, locks = (read(f".github/workflows/{name}.yml") for name in ("ci", "locks"))
    assert "write" not in ci
    assert "\npermissions: {}\n" in locks
    assert set(re.findall(r"(\S+): write", locks)) == {"contents", "pull-requests"}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_reports_nothing(name: str) -> None:
    hadolint = shutil.which("hadolint", path=str(BIN))
    if hadolint is None:
        pytest.skip("hadolint has no build for this machine")
    result = subprocess.run([hadolint, name], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def run_health_check(service: Service, port: int) -> int:
    """Run the HEALTHCHECK of an image for a service at `port`; return the exit status."""
    program, *arguments = service.health_command
    assert program == "python"
    command = [sys.executable, *arguments]
    environ = {**os.environ, "PORT": str(port)}
    return subprocess.run(command, env=environ, capture_output=True, timeout=30).returncode


@pytest.mark.parametrize(("service", "path"), [(BACKEND, "/health"), (FRONTEND, "/_stcore/health")])
def test_health_check_passes_only_while_the_service_answers(service: Service, path: str) -> None:
    answer = FakeResponse()
    with serving(answer) as (url, asked):
        port = urlsplit(url).port or 0
        assert run_health_check(service, port) == 0
        assert [one.path for one in asked] == [path]
        answer.status = 503
        assert run_health_check(service, port) != 0
    assert run_health_check(service, free_port()) != 0


def test_default_backend_target_has_no_torch() -> None:
    *_, last = re.split(r"^FROM ", read("backend.dockerfile"), flags=re.M)
    assert last.startswith("base AS serving")
    assert "torch" not in last


def stage(name: str) -> str:
    """Return the instructions of a stage of backend.dockerfile."""
    _, _, rest = read("backend.dockerfile").partition(f" AS {name}\n")
    return rest.partition("\nFROM ")[0]


@pytest.mark.parametrize(
    ("target", "packages"), [("serving", "packages"), ("torch", "packages-torch")]
)
def test_new_model_rebuilds_only_the_last_layer(target: str, packages: str) -> None:
    """A layer is rebuilt if its input or a layer before it has changed."""
    assert re.findall(r"^COPY --from=(\S+)", stage(target), re.M) == [packages, "code", "models"]
    assert "COPY models" in stage("models")
    for name in ("base", packages, "code"):
        assert stage(name)
        assert "COPY models" not in stage(name)


def test_copied_folders_are_the_admitted_ones() -> None:
    rules = [line for line in read(".dockerignore").splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    admitted = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        source.partition("/")[0]
        for name in DOCKERFILES
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", read(name), re.M)
        for source in sources.split()
    }
    assert {"requirements_*.txt" if "requirements_" in s else s for s in copied} == admitted


def choose_models(models: str, tree: Path) -> subprocess.CompletedProcess[str]:
    """Run the build step that copies the models named by MODELS, from `tree`/all."""
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
    ("models", "copied"),
    [
        ("", ["cats", "digits", "dogs"]),
        ("cats, digits", ["cats", "digits"]),
        (",cats,,digits,", ["cats", "digits"]),
        ("d*", ["digits", "dogs"]),
    ],
)
def test_build_argument_selects_the_models(models: str, copied: list[str], tmp_path: Path) -> None:
    for name in ("cats", "digits", "dogs"):
        (tmp_path / "all" / name).mkdir(parents=True)
        (tmp_path / "all" / name / "manifest.json").touch()
    assert choose_models(models, tmp_path).returncode == 0
    found = sorted(path.parent.name for path in (tmp_path / "models").glob("*/manifest.json"))
    assert found == copied


@pytest.mark.parametrize(
    ("models", "message"), [("cats,dogs", "cats"), (" ", "manifest"), ("dogs", "manifest")]
)
def test_unknown_model_fails_the_build(models: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "all" / "dogs").mkdir(parents=True)
    result = choose_models(models, tmp_path)
    assert result.returncode != 0
    assert message in result.stderr
