"""gcloud accepts every gcloud command in the documents and in cloudbuild.yaml."""

import yaml

from tests.conftest import ROOT
from tests.deploy.cloud_build import substitute
from tests.deploy.gcloud_commands import bash_blocks, commands_in_build, commands_in_script, lint

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
BUILD = (ROOT / "cloudbuild.yaml").read_text()


def documented_commands() -> list[str]:
    return [
        command
        for document in DOCUMENTS
        for block in bash_blocks(document.read_text())
        for command in commands_in_script(block)
    ]


def build_commands(text: str) -> list[str]:
    return list(commands_in_build(substitute(yaml.safe_load(text))))


def test_commands_in_subshells_loops_and_pipes_are_found() -> None:
    script = """
    NUMBER=$(gcloud projects describe "$PROJECT" --format='value(projectNumber)')  # gcloud no
    for role in run.admin logging.logWriter; do
      gcloud projects add-iam-policy-binding "$PROJECT" --role="roles/$role"
    done
    printf %s "$KEY" | gcloud secrets create key --data-file=- && echo gcloud run
    """
    assert list(commands_in_script(script)) == [
        "gcloud projects describe x '--format=value(projectNumber)'",
        "gcloud projects add-iam-policy-binding x --role=roles/x",
        "gcloud secrets create key --data-file=-",
    ]


def test_gcloud_accepts_every_documented_command() -> None:
    commands = documented_commands()
    assert len(commands) > 20
    assert lint([*commands, *build_commands(BUILD)]) == {}


def test_misspelled_flags_and_values_are_rejected() -> None:
    broken = [
        *build_commands(BUILD.replace("--cpu-boost", "--cpu-bost")),
        *build_commands(BUILD.replace("--concurrency=16", "--concurrency=many")),
    ]
    messages = " ".join(lint(broken))
    assert "--cpu-bost" in messages
    assert "=many" in messages
