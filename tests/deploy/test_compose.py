"""Both services on one machine, and PostgreSQL in a profile."""

import re
from pathlib import Path

import pytest

from tests.deploy.gcloud_commands import ROOT
from tests.deploy.composition import problems
from tests.deploy.schemas import complaints

TEXT = (ROOT / "compose.yaml").read_text()


def test_both_start_find_each_other_keep_their_data_and_are_open_to_nobody_else() -> None:
    assert problems(TEXT) == []


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ('    security_opt: ["no-new-privileges:true"]\n', "", "frontend: security_opt is not"),
        ("    restart: unless-stopped\n", "", "postgres: restart is not"),
        ("    read_only: true\n", "", "backend: read_only is not"),
        ("    cap_drop: [ALL]\n", "", "backend: cap_drop is not"),
        ('    tmpfs: ["/tmp"]\n', "", "frontend has no /tmp"),
        ("127.0.0.1:8501:8501", "127.0.0.1:8501:8502", "frontend listens on 8501"),
        ("127.0.0.1:8000:8000", "8000:8000", "backend is open to the network"),
        (
            "backend: {condition: service_healthy}",
            "backend: {condition: service_started}",
            "before the backend answers",
        ),
        ("service_healthy, required", "service_started, required", "does not wait for the data"),
        ("required: false", "required: true", "does not wait for the data"),
        ("postgresql/data", "postgresql/17", "the database is not kept"),
        ("postgres:17", "postgres:18", "the database is not kept"),
        ("target: serving", "target: torch", "not what the dockerfile makes by default"),
        ('      PRISM_HISTORY_OPEN: "true"', '      PRISM_HISTORY: "true"', "may not read the his"),
        ("PRISM_HISTORY_OPEN:", "PRISM_HISTRY_OPEN:", "backend does not know PRISM_HISTRY_OPEN"),
        ('args: {POSTGRES: "1"}', 'args: {POSTGRS: "1"}', "has no argument POSTGRS"),
        ('args: {POSTGRES: "1"}', "args: {}", "cannot open a database"),
        ("http://backend:8000", "http://backend:8001", "does not find the backend"),
        ("@postgres/prism", "@postgres/other", "the database is at"),
        ("${POSTGRES_PASSWORD:-} # beside", "secret # beside", "not the same for both"),
        ("data:/data", "data:/other", "gone with the container"),
        ("    profiles: [postgres]\n", "", "start without a profile"),
        ("CMD, pg_isready", "CMD, 'true'", "nobody knows when"),
    ],
)
def test_a_mistake_is_found(right: str, wrong: str, problem: str) -> None:
    assert right in TEXT
    found = problems(TEXT.replace(right, wrong))
    assert any(problem in one for one in found), found


def test_the_schema_would_see_a_typo(tmp_path: Path) -> None:
    planted = tmp_path / "compose.yaml"
    planted.write_text(TEXT)
    assert complaints("vendor.compose-spec", planted) == ""
    planted.write_text(TEXT.replace("depends_on:", "depend_on:"))
    assert "depend_on" in complaints("vendor.compose-spec", planted)


@pytest.mark.parametrize("page", ["docs/deploy.md", "compose.yaml"])
def test_the_command_for_the_profile_gives_the_password(page: str) -> None:
    commands = re.findall(r"^.*--profile postgres.*$", (ROOT / page).read_text(), re.M)
    assert commands
    assert all(re.search(r"POSTGRES_PASSWORD=\S+ docker compose", line) for line in commands)
