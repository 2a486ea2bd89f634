"""The environment variables that the services know, and those that commands give them."""

import re
from collections.abc import Iterator

from streamlit import config

from tests.deploy.commands import ROOT
from tests.deploy.recorder import Call

SETTINGS = (ROOT / "docs" / "settings.md").read_text()
PLACES = {"BACKEND_URL", "FRONTEND_URL"}  # filled in by commands
NAMES = re.compile(r"(?<![$\w])(?:PRISM|BACKEND|FRONTEND)_[A-Z_]+\b")


def listed(heading: str = "") -> set[str]:
    """The variables in the tables of docs/settings.md, or in the one below `heading`."""
    text = SETTINGS.partition(f"## {heading}\n")[2].partition("\n## ")[0] if heading else SETTINGS
    rows = re.findall(r"^\| (`[A-Z].*?) \|", text, re.M)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def _streamlit() -> set[str]:
    options = config.get_options_for_section("server")
    return {"STREAMLIT_SERVER_" + re.sub(r"([A-Z])", r"_\1", one).upper() for one in options}


KNOWN = {"backend": listed("Backend"), "frontend": listed("Frontend") | _streamlit()}


def told(call: Call) -> tuple[str, list[str]]:
    """Which of the two services a command gives which variables; "" where it gives none."""
    words = call.words
    if words[:2] == ["gcloud", "run"]:
        names = [
            one.partition("=")[0]
            for flag in ("update-env-vars", "remove-env-vars", "update-secrets")
            for one in call.option(flag).split(",")
            if one
        ]
        return service(call).removeprefix("prism-"), names
    if words[:2] == ["heroku", "config:set"]:
        part = call.option("remote").removeprefix("heroku-")
        return part, [one.partition("=")[0] for one in words if "=" in one]
    if words[:2] == ["docker", "run"]:
        return words[-1].removeprefix("prism-"), [
            one.partition("=")[0] for one in call.options("e")
        ]
    return ("frontend", list(call.secrets)) if call.secrets else ("", [])


def service(call: Call) -> str:
    """The service that a gcloud command is about; "" where it is about none."""
    words = call.words
    if words[:3] == ["gcloud", "run", "deploy"]:
        return words[3]
    if words[:3] == ["gcloud", "run", "services"]:
        return words[4]
    return call.option("service")


def problems(calls: list[Call]) -> Iterator[str]:
    """The variables that their service does not know; a line each."""
    for call in calls:
        part, names = told(call)
        for name in names:
            if name not in KNOWN.get(part, set()):
                yield f"{part} does not know {name}"
