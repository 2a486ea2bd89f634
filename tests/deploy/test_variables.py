"""Every variable that is named anywhere is one that somebody listens to."""

import re
from pathlib import Path

import pytest
import yaml

from tests.deploy import variables
from tests.deploy.commands import ROOT
from tests.deploy.pipeline import substituted
from tests.deploy.recorder import Call

FILES = [
    *sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.yaml")]),
    *(ROOT / name for name in ("cloudbuild.yaml", "compose.yaml", "Makefile")),
]
BUILD = (ROOT / "cloudbuild.yaml").read_text()


def unknown(text: str) -> set[str]:
    """The variables of ours in a file that no table of settings.md has."""
    return set(variables.NAMES.findall(text)) - variables.listed() - variables.PLACES


def told_by_build(text: str) -> list[str]:
    """What the steps of a build tell a service that it does not know."""
    steps = substituted(yaml.safe_load(text))["steps"]
    calls = [Call(["gcloud", *one["args"]], "", {}) for one in steps if one["args"][0] == "run"]
    return [*variables.problems(calls)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_variable_is_in_the_list_of_settings(file: Path) -> None:
    assert unknown(file.read_text()) == set()


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("docs/cloud-run.md", "`PRISM_HISTORY_OPEN`", "`PRISM_HISTRY_OPEN`"),
        ("docs/cloud-run.md", "BACKEND_API_KEY=$KEY", "BACKEND_APIKEY=$KEY"),
        ("docs/deploy.md", "`BACKEND_AUDIENCE`", "`BACKEND_AUDENCE`"),
        ("deploy/backend.service.yaml", "name: PRISM_DATABASE_URL", "name: PRISM_DATABSE_URL"),
        ("compose.yaml", "PRISM_HISTORY_OPEN:", "PRISM_HISTRY_OPEN:"),
        ("cloudbuild.yaml", "BACKEND_API_KEY=$$", "BACKEND_APIKEY=$$"),
    ],
)
def test_a_misspelt_variable_is_found(name: str, right: str, wrong: str) -> None:
    text = (ROOT / name).read_text()
    assert right in text
    assert unknown(text.replace(right, wrong)) == set(re.findall(r"[A-Z_]{5,}", wrong))


def test_the_build_tells_each_service_what_it_knows() -> None:
    assert told_by_build(BUILD) == []
    assert told_by_build(BUILD.replace("=PRISM_HISTORY=", "=PRISM_HISTRY=")) == [
        "backend does not know PRISM_HISTRY"
    ]
    assert told_by_build(BUILD.replace("STREAMLIT_SERVER_MAX_", "STREAMLIT_MAX_")) == [
        "frontend does not know STREAMLIT_MAX_UPLOAD_SIZE"
    ]
