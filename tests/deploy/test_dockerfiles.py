"""What the container and cloud files say, checked without an engine or a cloud."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from deploy.images import BACKEND, FRONTEND, Part
from tests.client.server import Answer, serving
from tests.conftest import free_port
from tests.deploy.schemas import complaints

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
    assert complaints(schema, ROOT / name) == ""


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
    assert "STOPSIGNAL" not in text
    assert re.search(r"PRISM_HOST=0\.0\.0\.0|--server\.address=0\.0\.0\.0", text)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_says_what_it_is(name: str) -> None:
    _, last = stages(name)[-1]
    base = last if name == "frontend.dockerfile" else dict(stages(name))["base"]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="(.+)"', base))
    assert set(labels) == {"title", "description", "licenses"}


def check_health(part: Part, port: int) -> int:
    """Run the HEALTHCHECK of an image whose service is at `port`; its exit status."""
    program, *arguments = part.health_command
    assert program == "python"
    command = [sys.executable, *arguments]
    environ = {**os.environ, "PORT": str(port)}
    return subprocess.run(command, env=environ, capture_output=True, timeout=30).returncode


@pytest.mark.parametrize(("part", "path"), [(BACKEND, "/health"), (FRONTEND, "/_stcore/health")])
def test_an_image_is_healthy_only_while_its_service_answers(part: Part, path: str) -> None:
    answer = Answer()
    with serving(answer) as (url, asked):
        port = urlsplit(url).port or 0
        assert check_health(part, port) == 0
        assert [one.path for one in asked] == [path]
        answer.status = 503
        assert check_health(part, port) != 0
    assert check_health(part, free_port()) != 0


def stages(name: str) -> list[tuple[str, str]]:
    """The stages of a dockerfile in their order: the name of each, if any, and its lines."""
    parts = re.split(r"^FROM ", read(name), flags=re.M)[1:]
    heads = [part.partition("\n")[0].partition(" AS ")[2] for part in parts]
    return list(zip(heads, parts, strict=True))


def test_a_build_argument_that_is_given_is_one_and_does_something() -> None:
    declared: set[str] = set()
    for name in DOCKERFILES:
        for stage, text in stages(name):
            settings = {"PATH", *re.findall(r"(?:^ENV| {4})\s*([A-Z_]+)=", text, re.M)}
            arguments = {found[1]: found.end() for found in re.finditer(r"^ARG (\w+)=", text, re.M)}
            uses = [*re.finditer(r"\$\{?([A-Z_]+)", text)]
            used = {found[1]: found.start() for found in reversed(uses)}
            assert used.keys() - settings == arguments.keys(), f"{stage} of {name}"
            assert all(arguments[one] < used[one] for one in arguments), f"{stage} of {name}"
            declared |= arguments.keys()
    documents = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "cloudbuild.yaml"]
    text = "".join(path.read_text() for path in documents)
    given = set(re.findall(r"--build-arg[ =]([A-Z_]+)=", text))
    given |= yaml.safe_load(read("compose.yaml"))["services"]["backend"]["build"]["args"].keys()
    assert {"MODELS", "POSTGRES", "GCS", "OTEL", "TORCH_INDEX"} <= declared
    assert given <= declared


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_change_of_code_copies_only_code_again(name: str) -> None:
    by_name = dict(stages(name))
    for stage, text in by_name.items():
        copied = re.findall(r"^COPY (.+) \S+$", text, re.M)
        if stage.startswith("packages"):
            assert all(one.startswith("requirements_") for line in copied for one in line.split())
        is_target = any("--from=packages" in line for line in copied)
        if is_target:
            assert "--from=packages" in copied[0], "the code would make the packages' layer anew"
            assert not re.search(r"^RUN .*pip", text, re.M)


def test_both_targets_hold_the_models_before_the_code() -> None:
    by_name = dict(stages("backend.dockerfile"))
    for target in ("torch", "serving"):
        copied = re.findall(r"^COPY --from=(\S+) \S+ (\S+)$", by_name[target], re.M)
        assert copied[1:] == [("models", "models/"), ("code", "./")]
    assert not any("COPY models/" in text for stage, text in by_name.items() if stage != "models")


def test_a_volume_on_data_belongs_to_the_service() -> None:
    text = read("backend.dockerfile")
    (user, group) = re.findall(r"^USER (\d+):(\d+)$", text, re.M)[-1]
    assert f"install -d -o {user} -g {group} /data" in text


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
    [
        ("", ["cats", "digits", "dogs"]),
        ("dogs", ["dogs"]),
        ("cats, digits", ["cats", "digits"]),
        (",cats,,digits,", ["cats", "digits"]),
        ("d*", ["digits", "dogs"]),
    ],
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


@pytest.mark.parametrize(
    ("models", "said"), [("cats,dogs", "cats"), (" ", "manifest"), ("dogs", "manifest")]
)
def test_a_model_that_is_not_there_ends_the_build(models: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "all" / "dogs").mkdir(parents=True)
    done = choose(models, tmp_path)
    assert done.returncode != 0
    assert said in done.stderr
