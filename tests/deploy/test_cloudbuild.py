"""The build: test -> build -> push -> deploy the backend -> deploy the page -> try both."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.gcloud_commands import ROOT
from tests.deploy.cloud_build import problems, substituted
from tests.deploy.schemas import complaints

FILE = ROOT / "cloudbuild.yaml"
TEXT = FILE.read_text()


@pytest.fixture(scope="module")
def build() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(TEXT)
    return loaded


def test_cloud_build_would_run_it_in_this_order(build: dict[str, Any]) -> None:
    assert problems(build) == []


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("_REGION: europe", "_REGIN: europe", "_REGION is used and not declared"),
        (
            "  _BUILDER: prism",
            "  _UNUSED: x\n  _BUILDER: prism",
            "_UNUSED is declared and not used",
        ),
        ("region=${_REGION}", "region=${_ZONE}", "_ZONE is used and not declared"),
        ("waitFor: [build-backend]", "waitFor: [test]", "push-backend does not wait for"),
        ("waitFor: [push-backend, push-frontend]", "waitFor: [test]", "does not wait for push"),
        (
            "waitFor: [let-the-page-ask]",
            "waitFor: [push-frontend]",
            "deploy-frontend does not wait",
        ),
        ("waitFor: [test]", "waitFor: [smoke]", "waits for smoke, which does not come before"),
        ("waitFor: [identify]", "waitFor: ['-']", "smoke does not wait for"),
        ("--role=roles/run.invoker", "--role=roles/run.viewer", "may not ask the backend"),
        ("serviceAccount:${_FRONTEND}", "serviceAccount:${_BACKEND}", "may not ask the backend"),
        ("_ACCESS: --no-allow", "_ACCESS: --allow", "everybody may ask the backend"),
        ("_ACCESS: --allow", "_ACCESS: --no-allow", "nobody may open the page"),
        ("    args: [.ci/run]\n", "    args: []\n", "the tests are not run"),
        ("    args: [.ci/run]\n", "    args: [-c, make check]\n", "the tests are not run"),
        ("    args: [.ci/run]\n", "    args: [.ci/run]\n    allowFailure: true\n", "test may fail"),
        (
            "    waitFor: [identify]\n",
            "    waitFor: [identify]\n    allowExitCodes: [1]\n",
            "smoke may fail",
        ),
        ("--frontend=${_FRONTEND_URL}", "--frontend=${_FRONTEND_URL} || true", "hides a failure"),
        ("      - -ec\n", "      - -c\n", "goes on after a failure"),
        ("    env: [CI=true]\n", "", "what the tests miss is skipped"),
        ("  logging: CLOUD_LOGGING_ONLY\n", "", "needs a place for the log"),
        ("  dynamicSubstitutions: true\n", "", "stay as they are"),
        ("timeout: 3600s\n", "", "too little time"),
        ("timeout: 3600s\n", "timeout: 1200s\n", "too little time"),
        ("--build-arg=POSTGRES=1", "--build-arg=GCS=1", "cannot open a database"),
        ("    env: [DOCKER_BUILDKIT=1]\n", "", "build-frontend makes stages"),
        ("    env: [DOCKER_BUILDKIT=1] #", "    env: [] #", "build-backend makes stages"),
        ("--update-env-vars=PRISM", "--set-env-vars=PRISM", "deploy-backend drops what"),
        ("--update-secrets", "--set-secrets", "deploy-frontend drops what"),
    ],
)
def test_a_mistake_is_found(right: str, wrong: str, problem: str) -> None:
    assert right in TEXT
    found = problems(yaml.safe_load(TEXT.replace(right, wrong)))
    assert any(problem in one for one in found), found


def test_steps_in_the_wrong_order_are_found(build: dict[str, Any]) -> None:
    steps = list(build["steps"])
    names = [step["id"] for step in steps]
    one, other = names.index("deploy-backend"), names.index("deploy-frontend")
    steps[one], steps[other] = steps[other], steps[one]
    assert problems({**build, "steps": steps})


def test_the_schema_knows_it_and_would_see_a_typo(tmp_path: Path) -> None:
    assert complaints("vendor.cloudbuild", FILE) == ""
    planted = tmp_path / "cloudbuild.yaml"
    planted.write_text(TEXT.replace("waitFor: [test]", "waitsFor: [test]"))
    assert complaints("vendor.cloudbuild", planted)


def test_what_is_built_is_what_is_pushed_and_deployed_by_commit(build: dict[str, Any]) -> None:
    filled = substituted(build)
    steps = {step["id"]: step for step in filled["steps"]}
    for part in ("backend", "frontend"):
        image = f"europe-west1-docker.pkg.dev/demo/prism/{part}:0123abc"
        assert f"--tag={image}" in steps[f"build-{part}"]["args"]
        assert f"--file={part}.dockerfile" in steps[f"build-{part}"]["args"]
        assert steps[f"push-{part}"]["args"] == ["push", image]
        assert f"--image={image}" in steps[f"deploy-{part}"]["args"]
        assert image in filled["images"]


def test_everything_runs_as_the_account_that_the_documents_make(build: dict[str, Any]) -> None:
    account = "projects/demo/serviceAccounts/prism-build@demo.iam.gserviceaccount.com"
    assert substituted(build)["serviceAccount"] == account
    made = (ROOT / "docs" / "deploy.md").read_text()
    assert "for account in prism-backend prism-frontend prism-build; do" in made


def test_the_smoke_test_gets_a_token_for_each_service_and_a_key_where_there_is_one(
    build: dict[str, Any], tmp_path: Path
) -> None:
    """The two last steps, run with a gcloud and a python that say what they are given."""
    for name, script in {
        "gcloud": 'case "$2" in print-identity-token) echo "token $3";; *) echo "$5";; esac',
        "python": 'echo "$BACKEND_ID_TOKEN/$FRONTEND_ID_TOKEN/$BACKEND_API_KEY/$*"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    said = []
    for given in ({}, {"_API_KEY_SECRET": "prism-api-key"}):
        *_, identify, smoke = substituted(build, **given)["steps"]
        for step in (identify, smoke):
            result = subprocess.run(
                [step["entrypoint"], *step["args"]],
                cwd=tmp_path,
                env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
                capture_output=True,
                text=True,
                check=True,
            )
        said.append(result.stdout.strip())
    url = "https://prism-{}-123456789012.europe-west1.run.app"
    asked = f"-m deploy.smoke {url.format('backend')} --frontend={url.format('frontend')}"
    tokens = "/".join(f"token --audiences={url.format(name)}" for name in ("backend", "frontend"))
    assert said == [f"{tokens}//{asked}", f"{tokens}/--secret=prism-api-key/{asked}"]
