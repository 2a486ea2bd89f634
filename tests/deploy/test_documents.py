"""The commands of the documents, typed as they stand, with tools that write down what they get.

That gcloud understands them is for test_commands.py, what they deploy for test_rehearsal.py.
"""

import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from backend.settings import Settings
from tests.conftest import free_port
from tests.deploy.commands import ROOT, blocks
from tests.deploy.recorder import Call, grants, run, secrets

DEPLOY, CLOUD_RUN, PLATFORMS = (
    (ROOT / "docs" / f"{name}.md").read_text() for name in ("deploy", "cloud-run", "platforms")
)
URL = "https://prism-{}-123456789012.europe-west1.run.app"


def typed(folder: Path, page: str, *headings: str) -> list[Call]:
    """Type what stands below these headings of `page`, after the variables of deploy.md."""
    script = [block for heading in headings for block in blocks(page, heading)]
    return run("\n".join([*blocks(DEPLOY, "Cloud Run"), *script]), folder)


def test_a_project_is_made_ready_for_both_services_and_the_build(tmp_path: Path) -> None:
    calls = typed(tmp_path, DEPLOY, "Once for a project")
    made = {call.words[-1] for call in calls if call.words[1:3] == ["iam", "service-accounts"]}
    assert {"prism-backend", "prism-frontend", "prism-build"} <= made
    assert grants(calls) == {
        ("prism-cookie-secret", "prism-frontend", "secretmanager.secretAccessor"),
        ("my-project", "prism-build", "run.admin"),
        ("my-project", "prism-build", "run.invoker"),
        ("my-project", "prism-build", "artifactregistry.writer"),
        ("my-project", "prism-build", "logging.logWriter"),
        ("my-project", "prism-build", "storage.objectViewer"),
        ("prism-backend", "prism-build", "iam.serviceAccountUser"),
        ("prism-frontend", "prism-build", "iam.serviceAccountUser"),
        ("prism-build", "prism-build", "iam.serviceAccountOpenIdTokenCreator"),
    }
    assert re.fullmatch(r"[0-9a-f]{64}\n", secrets(calls)["prism-cookie-secret"])


def test_images_are_built_for_cloud_run_and_pushed(tmp_path: Path) -> None:
    docker = [one for one in typed(tmp_path, DEPLOY, "By command") if one.words[0] == "docker"]
    images = [
        f"europe-west1-docker.pkg.dev/my-project/prism/{n}:0123abc" for n in ("back", "front")
    ]
    images = [image.replace(":", "end:") for image in images]
    assert [one.words[-2] for one in docker if one.words[1] == "build"] == images
    assert [one.words[-1] for one in docker if one.words[1] == "push"] == images
    assert all("--platform=linux/amd64" in one.words for one in docker if one.words[1] == "build")


def test_the_smoke_test_is_typed_with_a_token_of_somebody_who_may_ask(tmp_path: Path) -> None:
    calls = typed(tmp_path, DEPLOY, "Does it work?")
    assert grants(calls) == {("prism-backend", "me", "run.invoker")}
    asked = ["-m", "deploy.smoke", URL.format("backend"), "--frontend", URL.format("frontend")]
    assert calls[-1].words == ["python", *asked]
    assert calls[-1].secrets == {"BACKEND_ID_TOKEN": "an ID token"}


def test_a_database_is_one_that_the_backend_can_open(tmp_path: Path) -> None:
    calls = typed(tmp_path, CLOUD_RUN, "With a history")
    (url,) = secrets(calls).values()
    assert Settings(database_url=url).database_url == url
    (password,) = {call.option("password") for call in calls} - {""}
    assert url == (
        f"postgresql://prism:{password}@/prism?host=/cloudsql/my-project:europe-west1:prism"
    )
    assert calls[-1].option("add-cloudsql-instances") == "my-project:europe-west1:prism"
    assert grants(calls) == {
        ("my-project", "prism-backend", "cloudsql.client"),
        ("prism-database-url", "prism-backend", "secretmanager.secretAccessor"),
    }


def test_the_key_of_a_public_backend_is_one_that_it_accepts(tmp_path: Path) -> None:
    calls = typed(tmp_path, CLOUD_RUN, "With a public backend")
    made = secrets(calls)
    key = made["prism-api-key"]
    accepted = Settings(api_keys=made["prism-api-key-hashes"]).api_keys
    assert accepted == hashlib.sha256(key.encode()).hexdigest()
    assert calls[-1].secrets["BACKEND_API_KEY"] == key
    assert grants(calls) >= {
        ("prism-api-key", "prism-frontend", "secretmanager.secretAccessor"),
        ("prism-api-key", "prism-build", "secretmanager.secretAccessor"),
        ("prism-api-key-hashes", "prism-backend", "secretmanager.secretAccessor"),
    }


def test_knative_gets_manifests_without_anything_of_google(tmp_path: Path) -> None:
    calls = typed(tmp_path, PLATFORMS, "Knative")
    applied: dict[str, Any] = {}
    for call in calls:
        if call.words[:2] == ["kubectl", "apply"]:
            manifest = yaml.safe_load(call.given)
            applied[manifest["metadata"]["name"]] = manifest["spec"]["template"]
    assert set(applied) == {"prism-backend", "prism-frontend"}
    for name, template in applied.items():
        assert "serviceAccountName" not in template["spec"]
        (container,) = template["spec"]["containers"]
        part = name.removeprefix("prism-")
        assert container["image"] == f"registry.example.com/prism/{part}:0123abc"
        most = template["metadata"]["annotations"]["autoscaling.knative.dev/maxScale"]
        assert most == {"backend": "4", "frontend": "1"}[part]
    (page,) = applied["prism-frontend"]["spec"]["containers"]
    told = {one["name"]: one.get("value") for one in page["env"]}
    assert told["BACKEND"] == "http://prism-backend.default.svc.cluster.local"
    made = next(call for call in calls if call.words[1:3] == ["create", "secret"])
    assert made.words[4] == "prism-cookie-secret"
    assert made.option("from-literal").startswith("latest=")


def test_heroku_gets_what_its_python_needs_for_each_app(tmp_path: Path) -> None:
    (script,) = blocks(PLATFORMS, "Heroku")
    half, _, _ = script.partition("\n\n")  # the backend's
    for part, typed_so_far, needs in (
        ("backend", half, "serving"),
        ("frontend", script, "frontend"),
    ):
        folder = tmp_path / part
        folder.mkdir()
        calls = [one.words for one in run(typed_so_far, folder)]
        procfile = (ROOT / "deploy" / f"{part}.Procfile").read_text()
        assert (folder / "Procfile").read_text() == procfile
        assert (folder / "requirements.txt").read_text() == f"-r requirements_{needs}.txt\n"
        assert ["git", "push", f"heroku-{part}", f"heroku-{part}:main"] in calls
    (told,) = [words for words in calls if words[1:4:2] == ["config:set", "heroku-frontend"]]
    assert "BACKEND=https://my-prism-backend-0.herokuapp.com/" in told


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
