"""Find the gcloud commands in documents and build files, and check them with gcloud's grammar.

`gcloud meta lint-gcloud-commands` parses each command without a network, an account or a project.
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

from tests.conftest import ROOT

MANIFEST = ROOT / "deploy" / "backend.service.yaml"

_FENCE = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)
_HEADING = re.compile(r"^(#+) (.*)$", re.M)
_VARIABLE = re.compile(r"\$\$?(\{[^}]*\}|\w+)")
_INNERMOST_SUBSHELL = re.compile(r"\$\$?\(((?:[^()]|'[^']*')*)\)")
_CONTROL_WORDS = {"do", "then", "else", "if", "while", "until", "!"}


def require_gcloud() -> str:
    """Return the path of gcloud; skip the test where it is not installed."""
    path = shutil.which("gcloud")
    if path is None:
        pytest.skip("gcloud is not installed: its commands are not checked")
    return path


def bash_blocks(markdown: str, heading: str = "") -> list[str]:
    """Return the bash blocks of a document, or only those directly below `heading`."""
    if not heading:
        return _FENCE.findall(markdown)
    # Comments in a block are not headings.
    masked = _FENCE.sub(lambda block: re.sub(r"\S", "x", block[0]), markdown)
    marks = [(m.start(), m[2]) for m in _HEADING.finditer(masked)] + [(len(markdown), "")]
    sections = [
        markdown[start:end] for (start, title), (end, _) in pairwise(marks) if title == heading
    ]
    assert sections, f"no heading {heading!r}"
    return _FENCE.findall(sections[0])


def commands_in_script(script: str) -> Iterator[str]:
    """Yield every gcloud command of a shell script, with x in place of variables."""
    text = re.sub(r"(^|\s)#.*", "", script.replace("\\\n", " "), flags=re.M)
    while inner := _INNERMOST_SUBSHELL.search(text):
        yield from commands_in_script(inner[1])
        text = text[: inner.start()] + "x" + text[inner.end() :]
    for line in _VARIABLE.sub("x", text).splitlines():
        if "gcloud" not in line:
            continue
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set("();<>|&"):
                if command[:1] == ["gcloud"]:
                    yield shlex.join(command)
                command = []
            elif command or not (word in _CONTROL_WORDS or re.fullmatch(r"\w+=.*", word)):
                command.append(word)


def commands_in_build(build: Mapping[str, Any]) -> Iterator[str]:
    """Yield every gcloud command in the steps of a Cloud Build configuration."""
    for step in build["steps"]:
        arguments = [str(argument) for argument in step.get("args", [])]
        if step.get("entrypoint") == "gcloud":
            yield from commands_in_script(" ".join(["gcloud", *arguments]))
        elif step.get("entrypoint") in {"bash", "sh"}:
            yield from commands_in_script(arguments[-1])


def lint(commands: Iterable[str]) -> dict[str, str]:
    """Return the commands that gcloud rejects, each with gcloud's error message."""
    # `replace` also parses the manifest, so it needs a real file.
    texts = sorted({text.replace(" replace -", f" replace {MANIFEST}") for text in commands})
    with TemporaryDirectory() as folder:
        file = Path(folder, "commands.json")
        file.write_text(json.dumps([{"command_string": t, "id": n} for n, t in enumerate(texts)]))
        result = subprocess.run(
            [require_gcloud(), "meta", "lint-gcloud-commands", f"--commands-file={file}"],
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
    results = json.loads(result.stdout)
    assert len(results) == len(texts), result.stderr
    return {
        one["command_string"]: f"{one['error_type']}: {one['error_message']}"
        for one in results
        if not one["success"]
    }
