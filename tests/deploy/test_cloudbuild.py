"""cloudbuild.yaml: schema, order of the steps, images, and what the smoke test is given."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.deploy.cloud_build import BUILTIN, substitute
from tests.deploy.schemas import schema_errors

FILE = ROOT / "cloudbuild.yaml"
ORDER = (
    ("test", "build-backend", "push-backend", "deploy-backend"),
    ("test", "build-frontend", "push-frontend", "deploy-frontend"),
    ("deploy-backend", "allow-frontend", "deploy-frontend", "identify", "smoke"),
)


@pytest.fixture(scope="module")
def build() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def test_file_is_valid_by_the_published_schema() -> None:
    assert schema_errors("vendor.cloudbuild", FILE) == ""


def test_each_step_waits_for_what_it_needs(build: dict[str, Any]) -> None:
    waits: dict[str, set[str]] = {}
    for step in build["steps"]:
        direct = set(step.get("waitFor", []))
        assert direct <= set(waits), f"{step['id']} waits for a later step"
        waits[step["id"]] = direct.union(*(waits[name] for name in direct))
    for chain in ORDER:
        for earlier, later in pairwise(chain):
            assert earlier in waits[later], f"{later} does not wait for {earlier}"


def test_declared_substitutions_are_the_used_ones(build: dict[str, Any]) -> None:
    text = FILE.read_text()
    used = set(re.findall(r"(?<!\$)\$\{(\w+)\}", text))
    assert used - set(BUILTIN) == set(build["substitutions"])


def test_built_image_is_pushed_and_deployed(build: dict[str, Any]) -> None:
    steps = {step["id"]: step for step in substitute(build)["steps"]}
    for name in ("backend", "frontend"):
        image = f"europe-west1-docker.pkg.dev/demo/prism/{name}:0123abc"
        assert f"--tag={image}" in steps[f"build-{name}"]["args"]
        assert f"--file={name}.dockerfile" in steps[f"build-{name}"]["args"]
        assert steps[f"push-{name}"]["args"] == ["push", image]
        assert f"--image={image}" in steps[f"deploy-{name}"]["args"]


@pytest.mark.parametrize(("secret", "key"), [("", ""), ("prism-api-key", "--secret=prism-api-key")])
def test_smoke_test_gets_tokens_and_the_api_key(
    build: dict[str, Any], secret: str, key: str, tmp_path: Path
) -> None:
    """Run the last two steps with stand-ins for gcloud and python that print their input."""
    for name, script in {
        "gcloud": 'case "$2" in print-identity-token) echo "token $3";; *) echo "$5";; esac',
        "python": 'echo "$BACKEND_ID_TOKEN/$FRONTEND_ID_TOKEN/$BACKEND_API_KEY/$*"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    build = {**build, "substitutions": {**build["substitutions"], "_API_KEY_SECRET": secret}}
    *_, identify, smoke = substitute(build)["steps"]
    for step in (identify, smoke):
        result = subprocess.run(
            [step["entrypoint"], *step["args"]],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
    url = "https://prism-{}-123456789012.europe-west1.run.app"
    tokens = "/".join(f"token --audiences={url.format(name)}" for name in ("backend", "frontend"))
    command = f"-m deploy.smoke {url.format('backend')} --frontend={url.format('frontend')}"
    assert result.stdout.strip() == f"{tokens}/{key}/{command}"
