"""Every gcloud command that is written down here is one that gcloud understands."""

import re
from pathlib import Path

import pytest
import yaml

from tests.deploy.gcloud_commands import ROOT, blocks, in_build, in_script, mistakes
from tests.deploy.cloud_build import substituted

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
BUILD = (ROOT / "cloudbuild.yaml").read_text()


def documented(page: Path) -> list[str]:
    """The gcloud commands of a document."""
    return [command for block in blocks(page.read_text()) for command in in_script(block)]


def built(text: str) -> list[str]:
    """The gcloud commands of a build."""
    return list(in_build(substituted(yaml.safe_load(text))))


def test_none_is_overlooked() -> None:
    """As many are found as the word `gcloud` begins a command, whatever it stands in."""
    for page in PAGES:
        said = sum(
            len(
                re.findall(r"(?<![\w'/.])gcloud [a-z]", re.sub(r"(^|\s)#.*", "", block, flags=re.M))
            )
            for block in blocks(page.read_text())
        )
        assert len(documented(page)) == said, page.name
    assert len(documented(ROOT / "docs" / "deploy.md")) > 20
    assert len(built(BUILD)) == 6


def test_commands_are_found_where_shells_hide_them() -> None:
    script = """
    NUMBER=$(gcloud projects describe "$PROJECT" --format='value(projectNumber)')  # gcloud no
    for role in run.admin logging.logWriter; do
      gcloud projects add-iam-policy-binding "$PROJECT" --role="roles/$role" \\
        --member="serviceAccount:build@$PROJECT.iam.gserviceaccount.com"
    done
    printf %s "$KEY" | gcloud secrets create key --data-file=- && echo gcloud run
    TOKEN="$(gcloud auth print-identity-token)" python -m deploy.smoke https://x
    """
    assert list(in_script(script)) == [
        "gcloud projects describe x '--format=value(projectNumber)'",
        "gcloud auth print-identity-token",
        "gcloud projects add-iam-policy-binding x --role=roles/x "
        "--member=serviceAccount:build@x.iam.gserviceaccount.com",
        "gcloud secrets create key --data-file=-",
    ]


def test_gcloud_understands_every_command() -> None:
    commands = [command for page in PAGES for command in documented(page)]
    assert mistakes([*commands, *built(BUILD)]) == {}


def test_a_mistake_in_any_place_is_found() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    planted = [
        *in_script("\n".join(blocks(page.replace("--repository-format=", "--repository-fromat=")))),
        *in_script("\n".join(blocks(page.replace("run services replace", "run services replce")))),
        *built(BUILD.replace("--cpu-boost", "--cpu-bost")),
        *built(BUILD.replace("--concurrency=16", "--concurrency=many")),
        *built(BUILD.replace("--audiences", "--audience-of")),
    ]
    found = " ".join(mistakes(planted))
    for mistake in ("--repository-fromat", "replce", "--cpu-bost", "=many", "--audience-of"):
        assert mistake in found


def test_without_gcloud_the_skipped_check_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.skip.Exception, match=r"NOT CHECKED: no gcloud .*in CI too"):
        mistakes(["gcloud version"])
