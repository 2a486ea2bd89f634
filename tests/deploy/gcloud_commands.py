"""The gcloud commands that documents and build files tell to run, and what gcloud says of them.

`gcloud meta lint-gcloud-commands` parses each with gcloud's own grammar: without a network, an
account or a project.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# Flags that take away what somebody else gave a service: --update-… does not.
DROPS = re.compile(r"--(set|clear)-(env-vars|secrets|cloudsql-instances)|--env-vars-file")
MANIFEST = ROOT / "deploy" / "backend.server.main.yaml"

_FENCE = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)
_HEADING = re.compile(r"^(#+) (.*)$", re.M)
_VARIABLE = re.compile(r"\$\$?(\{[^}]*\}|\w+)")
_INNERMOST = re.compile(r"\$\$?\(((?:[^()]|'[^']*')*)\)")
_CONTROL = {"do", "then", "else", "if", "while", "until", "!"}


def gcloud() -> str:
    """The path of gcloud; skips, saying so, where there is none."""
    found = shutil.which("gcloud")
    if found is None:
        where = " (in CI too: its image has no gcloud)" if os.environ.get("CI") == "true" else ""
        pytest.skip(f"NOT CHECKED: no gcloud on this machine{where}; commands go unparsed")
    return found


def blocks(markdown: str, heading: str = "") -> list[str]:
    """The bash blocks of a document, or only those directly below `heading`."""
    if not heading:
        return _FENCE.findall(markdown)
    quiet = _FENCE.sub(
        lambda block: re.sub(r"\S", "x", block[0]), markdown
    )  # a comment is no heading
    marks = [(m.start(), m[2]) for m in _HEADING.finditer(quiet)] + [(len(markdown), "")]
    found = [
        markdown[start:end] for (start, title), (end, _) in pairwise(marks) if title == heading
    ]
    assert found, f"no heading {heading!r}"
    return _FENCE.findall(found[0])


def in_script(script: str) -> Iterator[str]:
    """Every gcloud command in a shell script, with x in the place of variables."""
    text = re.sub(r"(^|\s)#.*", "", script.replace("\\\n", " "), flags=re.M)
    while inner := _INNERMOST.search(text):
        yield from in_script(inner[1])
        text = text[: inner.start()] + "x" + text[inner.end() :]
    for line in _VARIABLE.sub("x", text).splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set("();<>|&"):
                if command[:1] == ["gcloud"]:
                    yield shlex.join(command)
                command = []
            elif command or not (word in _CONTROL or re.fullmatch(r"\w+=.*", word)):
                command.append(word)


def in_build(build: Mapping[str, Any]) -> Iterator[str]:
    """Every gcloud command in the steps of a build."""
    for step in build["steps"]:
        arguments = [str(one) for one in step.get("args", [])]
        if step.get("entrypoint") == "gcloud":
            yield from in_script(" ".join(["gcloud", *arguments]))
        elif step.get("entrypoint") in {"bash", "sh"}:
            yield from in_script(arguments[-1])


def mistakes(commands: Iterable[str]) -> dict[str, str]:
    """What gcloud has against each of `commands` that it would not run: command -> its words."""
    # It parses the file that a service is replaced by, too.
    given = sorted({one.replace(" replace -", f" replace {MANIFEST}") for one in commands})
    with TemporaryDirectory() as folder:
        listed = Path(folder, "commands.json")
        listed.write_text(
            json.dumps([{"command_string": one, "id": n} for n, one in enumerate(given)])
        )
        result = subprocess.run(
            [gcloud(), "meta", "lint-gcloud-commands", f"--commands-file={listed}"],
            env={
                **os.environ,
                "CLOUDSDK_CONFIG": folder,
                "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
                "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
    said = json.loads(result.stdout)
    assert len(said) == len(given), result.stderr
    return {
        one["command_string"]: f"{one['error_type']}: {one['error_message']}"
        for one in said
        if not one["success"]
    }
