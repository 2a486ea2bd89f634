"""Both services on one machine, and PostgreSQL in a profile."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.commands import ROOT

TEXT = (ROOT / "compose.yaml").read_text()


def composed(**environ: str) -> dict[str, Any]:
    """The services as compose sees them with these variables set."""

    def fill(found: re.Match[str]) -> str:
        value = environ.get(found[1], "")
        return (found[3] if value else "") if found[2] == ":+" else value or found[3]

    loaded = yaml.safe_load(re.sub(r"\$\{(\w+)(:[+-])([^}]*)\}", fill, TEXT))
    services: dict[str, Any] = loaded["services"]
    return services


def test_the_page_finds_the_backend_and_nothing_is_writable_but_what_is_meant_to_be() -> None:
    services = composed()
    assert services["frontend"]["environment"]["BACKEND"] == "http://backend:8000"
    for name, service in services.items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "/tmp" in service["tmpfs"]
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).exists()
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} is open to the network"


def test_without_the_profile_the_history_is_a_file_on_a_volume() -> None:
    services = composed()
    started = {name for name, service in services.items() if "profiles" not in service}
    assert started == {"backend", "frontend"}
    assert not services["backend"]["environment"]["PRISM_DATABASE_URL"]
    assert services["backend"]["environment"]["PRISM_DATA_DIR"] == "/data"
    assert "data:/data" in services["backend"]["volumes"]
    assert services["backend"]["depends_on"]["postgres"]["required"] is False


def test_with_the_profile_the_backend_waits_for_a_database_that_it_can_open() -> None:
    services = composed(POSTGRES_PASSWORD="p@ss/word")
    backend, postgres = services["backend"], services["postgres"]
    made = postgres["environment"]
    url = f"postgresql://{made['POSTGRES_USER']}@postgres/{made['POSTGRES_DB']}"
    assert backend["environment"]["PRISM_DATABASE_URL"] == url
    assert backend["environment"]["PGPASSWORD"] == made["POSTGRES_PASSWORD"] == "p@ss/word"
    assert backend["build"]["args"]["POSTGRES"] == "1"
    assert backend["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert postgres["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]
    assert postgres["profiles"] == ["postgres"]


def test_the_schema_would_see_a_typo(tmp_path: Path) -> None:
    check = str(Path(sys.executable).with_name("check-jsonschema"))
    for text, status in ((TEXT, 0), (TEXT.replace("depends_on:", "depend_on:"), 1)):
        planted = tmp_path / "compose.yaml"
        planted.write_text(text)
        command = [check, "--builtin-schema", "vendor.compose-spec", str(planted)]
        assert subprocess.run(command, capture_output=True).returncode == status


@pytest.mark.parametrize("page", ["docs/deploy.md", "compose.yaml"])
def test_the_command_for_the_profile_gives_the_password(page: str) -> None:
    commands = re.findall(r"^.*--profile postgres.*$", (ROOT / page).read_text(), re.M)
    assert commands
    assert all(re.search(r"POSTGRES_PASSWORD=\S+ docker compose", line) for line in commands)
