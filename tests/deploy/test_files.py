"""What the container and cloud files say, checked without an engine or a cloud."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILES = ("backend.dockerfile", "frontend.dockerfile")
BIN = Path(sys.executable).parent


def read(name: str) -> str:
    return (ROOT / name).read_text()


def load(name: str) -> Any:
    return yaml.safe_load(read(name))


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ("vendor.cloudbuild", "cloudbuild.yaml"),
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


def test_compose_lets_the_page_find_the_backend() -> None:
    services = load("compose.yaml")["services"]
    assert services["frontend"]["environment"]["BACKEND"] == "http://backend:8000"
    for service in services.values():
        assert service["read_only"] is True
        assert service["tmpfs"] == ["/tmp"]
        assert (ROOT / service["build"]["dockerfile"]).exists()


class TestCloudBuild:
    """test -> build -> push -> deploy the backend -> deploy the frontend."""

    def steps(self) -> dict[str, dict[str, Any]]:
        return {step["id"]: step for step in load("cloudbuild.yaml")["steps"]}

    def before(self, name: str) -> set[str]:
        """Every step that has to be done before the step `name` starts."""
        earlier = set(self.steps()[name].get("waitFor", []))
        return earlier.union(*map(self.before, earlier)) if earlier else earlier

    def test_nothing_is_pushed_untested_and_nothing_is_deployed_unpushed(self) -> None:
        assert self.before("deploy-frontend") == set(self.steps()) - {"deploy-frontend"}
        assert "test" in self.before("push-backend")
        assert "test" in self.before("push-frontend")
        assert {"push-backend", "build-backend"} <= self.before("deploy-backend")
        assert "deploy-backend" in self.before("deploy-frontend")

    def test_the_steps_are_listed_in_an_order_in_which_they_can_run(self) -> None:
        seen: set[str] = set()
        for name, step in self.steps().items():
            assert set(step.get("waitFor", [])) <= seen
            seen.add(name)

    def test_every_substitution_is_declared_and_used(self) -> None:
        text = re.sub(r"#.*", "", read("cloudbuild.yaml"))
        declared = set(load("cloudbuild.yaml")["substitutions"])
        used = set(re.findall(r"\$\{?([A-Z_]+)", text))
        builtin = {"PROJECT_ID", "PROJECT_NUMBER", "COMMIT_SHA"}
        assert used - builtin == declared

    def test_what_is_built_is_what_is_pushed_and_deployed_by_commit(self) -> None:
        steps = self.steps()
        for part in ("backend", "frontend"):
            image = f"${{_REGISTRY}}/{part}:${{COMMIT_SHA}}"
            assert image in steps[f"build-{part}"]["args"]
            assert f"{part}.dockerfile" in steps[f"build-{part}"]["args"]
            assert steps[f"push-{part}"]["args"] == ["push", image]
            assert f"--image={image}" in steps[f"deploy-{part}"]["args"]

    def test_the_page_is_told_where_the_backend_is(self) -> None:
        args = self.steps()["deploy-frontend"]["args"]
        (given,) = [arg for arg in args if arg.startswith("--set-env-vars=")]
        assert given.startswith("--set-env-vars=BACKEND=https://${_BACKEND}-")
