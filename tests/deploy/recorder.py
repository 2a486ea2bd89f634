"""Shell scripts run with tools that do nothing but write down what they are given."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.commands import ROOT

TOOLS = ("docker", "gcloud", "git", "heroku", "kubectl", "make", ".venv/bin/python")
ANSWERS = {
    "git rev-parse": "0123abc",
    "gcloud projects describe": "123456789012",
    "gcloud config get": "me@example.com",
    "gcloud auth print-identity-token": "an ID token",
    "heroku info": "git_url=https://git\nweb_url=https://my-prism-backend-0.herokuapp.com/",
}
_TOOL = """#!{python} -IS
import json, os, sys
call = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
with open({log!r}, "a") as log:
    secrets = {{n: v for n, v in os.environ.items() if n.startswith("BACKEND_")}}
    log.write(json.dumps([call, sys.stdin.read(), secrets]) + "\\n")
for words, answer in json.loads({answers!r}).items():
    if " ".join(call).startswith(words):
        print(answer)
"""


@dataclass(frozen=True)
class Call:
    """What one tool was called with."""

    words: list[str]
    given: str  # on its standard input
    secrets: dict[str, str]  # the variables that begin with BACKEND_

    def options(self, name: str) -> list[str]:
        """The values of --name=value and --name value, as often as it is there."""
        flag = f"--{name}" if len(name) > 1 else f"-{name}"
        return [
            after if word == flag else word.partition("=")[2]
            for word, after in zip(self.words, [*self.words[1:], ""], strict=True)
            if word == flag or word.startswith(f"{flag}=")
        ]

    def option(self, name: str) -> str:
        """The first of `options`; "" where it is not there."""
        return next(iter(self.options(name)), "")


def run(script: str, folder: Path) -> list[Call]:
    """Run `script` in `folder`, where it finds the project's files; AssertionError if it fails."""
    log = folder / "calls"
    tool = _TOOL.format(python=sys.executable, log=str(log), answers=json.dumps(ANSWERS))
    for name in TOOLS:
        path = folder / name if "/" in name else folder / "tools" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tool)
        path.chmod(0o755)
    (folder / "deploy").symlink_to(ROOT / "deploy")
    result = subprocess.run(
        [shutil.which("bash") or "bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={"PATH": f"{folder / 'tools'}:{os.environ['PATH']}", "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return [Call(*json.loads(line)) for line in log.read_text().splitlines()]


def grants(calls: list[Call], verb: str = "add-iam-policy-binding") -> set[tuple[str, str, str]]:
    """Who gets which role on what: (what, account, role)."""
    return {
        (
            call.words[call.words.index(verb) + 1].partition("@")[0],
            call.option("member").partition("@")[0].rpartition(":")[2],
            call.option("role").removeprefix("roles/"),
        )
        for call in calls
        if verb in call.words
    }


def secrets(calls: list[Call]) -> dict[str, str]:
    """The secrets that are made: name -> what is in them."""
    return {
        call.words[3]: call.given
        for call in calls
        if call.words[:3] == ["gcloud", "secrets", "create"]
    }
