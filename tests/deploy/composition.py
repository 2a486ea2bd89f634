"""compose.yaml as compose reads it, and what it owes the images and the settings."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.deploy import variables
from tests.deploy.commands import ROOT

PASSWORD = "p@ss/word"
SERVED = ("backend", "frontend")
DATA = "/var/lib/postgresql/data"  # of PostgreSQL's images before version 18
HARDENED = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "restart": "unless-stopped",
}


def composed(text: str, **environ: str) -> dict[str, Any]:
    """The services as compose sees them with these variables set."""

    def fill(found: re.Match[str]) -> str:
        value = environ.get(found[1], "")
        return (found[3] if value else "") if found[2] == ":+" else value or found[3]

    loaded = yaml.safe_load(re.sub(r"\$\{(\w+)(:[+-])([^}]*)\}", fill, text))
    services: dict[str, Any] = loaded["services"]
    return services


def problems(text: str) -> list[str]:
    """What would not start, not be found, not be kept or be open to others; a line each."""
    services = composed(text)
    found = [*_hardening(services), *_history(services), *_database(text)]
    for part in SERVED:
        found += _images(part, services[part])
    waits = services["frontend"].get("depends_on", {}).get("backend", {})
    if waits.get("condition") != "service_healthy":
        found.append("the page is open before the backend answers")
    if services["frontend"]["environment"].get("BACKEND") != "http://backend:8000":
        found.append("the page does not find the backend")
    return found


def _hardening(services: dict[str, Any]) -> Iterator[str]:
    for name, service in services.items():
        for option, meant in HARDENED.items():
            if service.get(option) != meant:
                yield f"{name}: {option} is not {meant}"
        if "/tmp" not in service.get("tmpfs", []):
            yield f"{name} has no /tmp to write to"
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name} is open to the network"


def _images(part: str, service: dict[str, Any]) -> Iterator[str]:
    dockerfile = ROOT / service["build"]["dockerfile"]
    text = dockerfile.read_text()
    port = re.findall(r"^EXPOSE (\d+)$", text, re.M)[-1]
    if service["ports"] != [f"127.0.0.1:{port}:{port}"]:
        yield f"{part} listens on {port}, and is not asked there"
    default = re.findall(r"^FROM \S+(?: AS (\w+))?$", text, re.M)[-1]
    if service["build"].get("target", default) != default:
        yield f"{part} is not what the dockerfile makes by default"
    for name in set(service["build"].get("args", {})) - set(re.findall(r"^ARG (\w+)", text, re.M)):
        yield f"{dockerfile.name} has no argument {name}"
    for name in set(service["environment"]) - variables.KNOWN[part] - {"PGPASSWORD"}:
        yield f"{part} does not know {name}"


def _history(services: dict[str, Any]) -> Iterator[str]:
    backend = services["backend"]
    started = {name for name, service in services.items() if "profiles" not in service}
    if started != set(SERVED):
        yield f"{sorted(started)} start without a profile"
    if backend["environment"].get("PRISM_DATABASE_URL"):
        yield "without a password there is a database"
    if f"data:{backend['environment'].get('PRISM_DATA_DIR')}" not in backend.get("volumes", []):
        yield "the history is gone with the container"
    if backend["environment"].get("PRISM_HISTORY_OPEN") != "true":
        yield "the page may not read the history"


def _database(text: str) -> Iterator[str]:
    services = composed(text, POSTGRES_PASSWORD=PASSWORD)
    backend, postgres = services["backend"], services["postgres"]
    made = postgres["environment"]
    url = f"postgresql://{made['POSTGRES_USER']}@postgres/{made['POSTGRES_DB']}"
    if backend["environment"].get("PRISM_DATABASE_URL") != url:
        yield f"the database is at {url}"
    if (backend["environment"].get("PGPASSWORD"), made["POSTGRES_PASSWORD"]) != (PASSWORD,) * 2:
        yield "the password is not the same for both"
    if backend["build"].get("args", {}).get("POSTGRES") != "1":
        yield "the backend cannot open a database"
    waits = backend.get("depends_on", {}).get("postgres", {})
    if waits != {"condition": "service_healthy", "required": False}:
        yield "the backend does not wait for the database, or not only where there is one"
    if postgres["healthcheck"]["test"][:2] != ["CMD", "pg_isready"]:
        yield "nobody knows when the database is ready"
    if int(postgres["image"].removeprefix("postgres:")) >= 18 or (
        postgres.get("volumes") != [f"postgres:{DATA}"]
    ):
        yield f"the database is not kept: its data is in {DATA} before version 18"
