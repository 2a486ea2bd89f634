"""The commands for Knative and Heroku, typed as they stand."""

import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.conftest import free_port
from tests.deploy import variables
from tests.deploy.commands import ROOT, blocks
from tests.deploy.documents import PLATFORMS, typed
from tests.deploy.recorder import Call, run

BACKEND = "http://prism-backend.default.svc.cluster.local"


def knative(calls: list[Call]) -> list[str]:
    """What would not run, or be open, on a cluster that is given this; a line each."""
    applied = {
        manifest["metadata"]["name"]: manifest
        for call in calls
        if call.words[:2] == ["kubectl", "apply"]
        for manifest in [yaml.safe_load(call.given)]
    }
    if set(applied) != {"prism-backend", "prism-frontend"}:
        return [f"{sorted(applied)} are applied"]
    patches = [call.option("patch") for call in calls if call.words[1] == "patch"]
    longest = max(
        [int(n) for one in patches for n in re.findall(r'seconds": "(\d+)"', one)] + [300]
    )
    found = []
    for name, manifest in applied.items():
        part = name.removeprefix("prism-")
        spec = manifest["spec"]["template"]["spec"]
        if "serviceAccountName" in spec:
            found.append(f"{name} has an account of Google's")
        if spec["timeoutSeconds"] > longest:
            found.append(f"{name} lasts longer than the cluster allows")
        (container,) = spec["containers"]
        if container["image"] != f"registry.example.com/prism/{part}:0123abc":
            found.append(f"{name} is made from {container['image']}")
    private = {"networking.knative.dev/visibility": "cluster-local"}
    if applied["prism-backend"]["metadata"].get("labels") != private:
        found.append("everybody may ask the backend")
    if "labels" in applied["prism-frontend"]["metadata"]:
        found.append("nobody may open the page")
    if scale(applied["prism-backend"]) != "4" or scale(applied["prism-frontend"]) != "1":
        found.append("a visit to the page may go astray")
    (page,) = applied["prism-frontend"]["spec"]["template"]["spec"]["containers"]
    if {"name": "BACKEND", "value": BACKEND} not in page["env"]:
        found.append("the page does not find the backend")
    made = {call.words[4] for call in calls if call.words[1:3] == ["create", "secret"]}
    if made != {"prism-cookie-secret"}:
        found.append("the page has no secret")
    return found


def scale(manifest: dict[str, Any]) -> Any:
    """How many instances there are at most."""
    return manifest["spec"]["template"]["metadata"]["annotations"][
        "autoscaling.knative.dev/maxScale"
    ]


def heroku(calls: list[Call], folder: Path) -> list[str]:
    """What an app whose branch is made last, in `folder`, would lack; a line each."""
    part = next(one.words[3] for one in reversed(calls) if one.words[:2] == ["git", "switch"])
    part = part.removeprefix("heroku-")
    needs = {"backend": "serving", "frontend": "frontend"}[part]
    files = {
        "Procfile": (ROOT / "deploy" / f"{part}.Procfile").read_text(),
        "requirements.txt": f"-r requirements_{needs}.txt\n",
    }
    found = [
        f"{name} is not the {part}'s"
        for name, meant in files.items()
        if (folder / name).read_text() != meant
    ]
    given = (folder / ".python-version").read_text().strip()
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    if version(given) < version(least.removeprefix(">=")):
        found.append(f"Python {given} is too old")
    if ["git", "push", f"heroku-{part}", f"heroku-{part}:main"] not in [one.words for one in calls]:
        found.append(f"the {part} is not pushed")
    told = [one for call in calls if f"heroku-{part}" in call.words for one in call.words]
    meant = {
        "backend": ["PRISM_HISTORY=false", "WEB_CONCURRENCY=1"],
        "frontend": ["BACKEND=https://my-prism-backend-0.herokuapp.com/"],
    }
    found += [f"the {part} is not told {one}" for one in meant[part] if one not in told]
    return [*found, *variables.problems(calls)]


def version(text: str) -> tuple[int, ...]:
    """A version as it is compared."""
    return tuple(map(int, text.split(".")))


def test_knative_gets_what_it_runs_and_keeps_the_backend_to_itself(tmp_path: Path) -> None:
    assert knative(typed(tmp_path, PLATFORMS, "Knative")) == []


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("visibility: cluster-local", "visibility: external", "everybody may ask the backend"),
        ("/^  name: prism-backend/s", "/^  name: prism/s", "nobody may open the page"),
        ('seconds": "3600"', 'seconds": "300"', "prism-frontend lasts longer"),
        ("-e '/serviceAccountName/d' ", "", "has an account of Google's"),
        ('maxScale: "1"', 'maxScale: "2"', "may go astray"),
        ("http://prism-backend.", "http://backend.", "does not find the backend"),
        ("secret generic prism-cookie-secret", "secret generic cookies", "has no secret"),
    ],
)
def test_a_mistake_for_knative_is_found(
    right: str, wrong: str, problem: str, tmp_path: Path
) -> None:
    assert right in PLATFORMS
    found = knative(typed(tmp_path, PLATFORMS.replace(right, wrong), "Knative"))
    assert any(problem in one for one in found), found


@pytest.mark.parametrize("part", ["backend", "frontend"])
def test_heroku_gets_what_its_python_needs_for_each_app(part: str, tmp_path: Path) -> None:
    assert heroku(run(for_heroku(PLATFORMS, part), tmp_path), tmp_path) == []


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        (" WEB_CONCURRENCY=1", "", "not told WEB_CONCURRENCY=1"),
        ('echo "3.13"', 'echo "2.7"', "Python 2.7 is too old"),
        ('echo "3.13"', 'echo "3.9"', "Python 3.9 is too old"),
        ("backend.Procfile", "frontend.Procfile", "Procfile is not the backend's"),
        ("PRISM_HISTORY=", "PRISM_HISTRY=", "does not know PRISM_HISTRY"),
        ("heroku-backend:main", "main", "the backend is not pushed"),
    ],
)
def test_a_mistake_for_heroku_is_found(
    right: str, wrong: str, problem: str, tmp_path: Path
) -> None:
    assert right in PLATFORMS
    found = heroku(run(for_heroku(PLATFORMS.replace(right, wrong), "backend"), tmp_path), tmp_path)
    assert any(problem in one for one in found), found


def for_heroku(page: str, part: str) -> str:
    """The commands until this app is deployed: the backend's come first."""
    (script,) = blocks(page, "Heroku")
    return script.partition("\n\n")[0] if part == "backend" else script


@pytest.mark.parametrize(
    ("name", "path"), [("backend", "/health"), ("frontend", "/_stcore/health")]
)
def test_a_procfile_starts_what_listens_on_the_port_that_is_given(
    name: str, path: str, tmp_path: Path
) -> None:
    told = (ROOT / "deploy" / f"{name}.Procfile").read_text()
    assert "0.0.0.0" in told
    procfile = tmp_path / "Procfile"
    procfile.write_text(told.replace("0.0.0.0", "127.0.0.1"))
    port = str(free_port())
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PORT": port,
        "PRISM_HISTORY": "false",
        "PRISM_MEASURE": "false",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "honcho", "-f", str(procfile), "-d", str(ROOT), "start", "web"],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert _answers(f"http://127.0.0.1:{port}{path}", process)
        finally:
            process.terminate()
            process.wait(timeout=20)


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            return httpx.get(url, timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            time.sleep(0.05)
    return False
