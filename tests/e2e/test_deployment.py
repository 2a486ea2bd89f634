"""A whole deployment with the real gcloud, into a cloud that only writes down what it is sent.

The three ways of docs/deploy.md, each typed as it stands there, come to the same.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.fake_cloud import NUMBER, PROJECT, Cloud, cloud
from tests.deploy.gcloud_commands import ROOT, blocks
from tests.deploy.manifests import filled, text
from tests.deploy.cloud_build import substituted

PAGE = (ROOT / "docs" / "deploy.md").read_text().replace("my-project", "demo")
BUILD = (ROOT / "cloudbuild.yaml").read_text()

BACKEND, PAGES = "prism-backend", "prism-frontend"
IMAGES = "europe-west1-docker.pkg.dev/demo/prism"
START = {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 60}
LIFE = {"periodSeconds": 30, "timeoutSeconds": 5, "failureThreshold": 3}
MEANT: dict[str, dict[str, Any]] = {
    BACKEND: {
        "region": "europe-west1",
        "image": f"{IMAGES}/backend:0123abc",
        "account": "prism-backend@demo.iam.gserviceaccount.com",
        "ingress": "all",
        "limits": {"cpu": "1", "memory": "512Mi"},
        "concurrency": 16,
        "instances": ("0", "4"),
        "timeout": 60,
        "boost": True,
        "affinity": False,
        "startup": {"httpGet": {"path": "/ready"}, **START},
        "liveness": {"httpGet": {"path": "/health"}, **LIFE},
        "env": {"PRISM_HISTORY": "false"},
        "invokers": {"serviceAccount:prism-frontend@demo.iam.gserviceaccount.com"},
    },
    PAGES: {
        "region": "europe-west1",
        "image": f"{IMAGES}/frontend:0123abc",
        "account": "prism-frontend@demo.iam.gserviceaccount.com",
        "ingress": "all",
        "limits": {"cpu": "1", "memory": "1Gi"},
        "concurrency": 80,
        "instances": ("0", "4"),
        "timeout": 3600,
        "boost": True,
        "affinity": True,
        "startup": {"httpGet": {"path": "/_stcore/health"}, **START},
        "liveness": {"httpGet": {"path": "/_stcore/health"}, **LIFE},
        "env": {
            "BACKEND": "https://prism-backend-123456789012.europe-west1.run.app",
            "STREAMLIT_SERVER_MAX_UPLOAD_SIZE": "30",
            "STREAMLIT_SERVER_COOKIE_SECRET": {"name": "prism-cookie-secret", "key": "latest"},
        },
        "invokers": {"allUsers"},
    },
}


def deployed(here: Cloud, name: str) -> dict[str, Any]:
    """What matters of a service as it reached the cloud."""
    service = here.services[name]
    template = service["spec"]["template"]
    notes, spec = template["metadata"]["annotations"], template["spec"]
    (container,) = spec["containers"]
    scale = "autoscaling.knative.dev"
    return {
        "region": here.regions[name],
        "image": container["image"],
        "account": spec["serviceAccountName"],
        "ingress": service["metadata"]["annotations"]["run.googleapis.com/ingress"],
        "limits": container["resources"]["limits"],
        "concurrency": spec["containerConcurrency"],
        "instances": (notes.get(f"{scale}/minScale", "0"), notes[f"{scale}/maxScale"]),
        "timeout": spec["timeoutSeconds"],
        "boost": notes.get("run.googleapis.com/startup-cpu-boost", "").lower() == "true",
        "affinity": notes.get("run.googleapis.com/sessionAffinity", "").lower() == "true",
        "startup": container["startupProbe"],
        "liveness": container["livenessProbe"],
        "env": {
            one["name"]: one.get("value") or one["valueFrom"]["secretKeyRef"]
            for one in container["env"]
        },
        "invokers": here.members(name),
    }


def problems(here: Cloud) -> list[str]:
    """Where what was deployed differs from what was meant; a line each."""
    found = [f"nobody answers {one}" for one in here.strange]
    for name, meant in MEANT.items():
        if name not in here.services:
            found.append(f"{name} is not deployed")
            continue
        is_there = deployed(here, name)
        found += [
            f"{name}: {what} is {is_there[what]!r}, not {value!r}"
            for what, value in meant.items()
            if is_there[what] != value
        ]
    return found


def typed(here: Cloud, *headings: str) -> None:
    """Type what stands below these headings, in one shell."""
    here.script("\n".join(block for heading in headings for block in blocks(PAGE, heading)))


def typed_later(here: Cloud, heading: str, *, region: str = "europe-west1", more: str = "") -> None:
    """Type what stands there where the project is chosen, and its number known, already."""
    (variables,) = blocks(PAGE, "Cloud Run")
    known = re.sub(r"^gcloud config.*\n", "", variables, flags=re.M)
    known = re.sub(r"^NUMBER=.*", f"NUMBER={NUMBER}", known, flags=re.M)
    known = known.replace("REGION=europe-west1", f"REGION={region}")
    assert "gcloud" not in known
    here.script("\n".join([known, *blocks(PAGE, heading)]).rstrip() + more, PROJECT)


def built(here: Cloud, build: dict[str, Any]) -> None:
    """Do what the steps of a build deploy."""
    for step in substituted(build)["steps"]:
        if step.get("entrypoint") == "gcloud":
            here.gcloud(*step["args"])


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Cloud]:
    with cloud(tmp_path) as one:
        yield one


def test_by_command(here: Cloud) -> None:
    typed(here, "Cloud Run", "By command")
    assert problems(here) == []


def test_by_file(here: Cloud) -> None:
    typed_later(here, "By file")
    assert problems(here) == []


def test_with_cloud_build(here: Cloud) -> None:
    built(here, yaml.safe_load(BUILD))
    assert problems(here) == []


def test_the_next_build_closes_the_backend_and_keeps_what_was_added_to_it(here: Cloud) -> None:
    build = yaml.safe_load(BUILD)
    build["steps"] = [step for step in build["steps"] if step["id"] == "deploy-backend"]
    build["substitutions"]["_BACKEND_ACCESS"] = "--allow-unauthenticated"
    built(here, build)
    assert here.members(BACKEND) == {"allUsers"}
    added = [
        "--update-secrets=PRISM_DATABASE_URL=prism-database-url:latest",
        "--update-env-vars=PRISM_HISTORY_OPEN=true",
    ]
    here.gcloud("run", "services", "update", BACKEND, "--region=europe-west1", *added)
    build["substitutions"]["_HISTORY"] = "true"
    build["substitutions"]["_BACKEND_ACCESS"] = "--no-allow-unauthenticated"
    built(here, build)
    assert here.members(BACKEND) == set()
    assert deployed(here, BACKEND)["env"] == {
        "PRISM_HISTORY": "true",
        "PRISM_HISTORY_OPEN": "true",
        "PRISM_DATABASE_URL": {"name": "prism-database-url", "key": "latest"},
    }


def test_a_page_that_is_told_no_address_may_look_for_the_backend(here: Cloud) -> None:
    typed(here, "Cloud Run", "By command", "How the page finds the backend")
    env = deployed(here, PAGES)["env"]
    assert "BACKEND" not in env
    assert env["PRISM_BACKEND_SERVICE"] == BACKEND
    assert env["STREAMLIT_SERVER_MAX_UPLOAD_SIZE"] == "30"
    page = MEANT[PAGES]["account"]
    assert here.members(BACKEND, "roles/run.viewer") == {f"serviceAccount:{page}"}
    assert here.members(BACKEND) == MEANT[BACKEND]["invokers"]


def test_the_build_is_taken_as_it_is_sent(here: Cloud) -> None:
    typed_later(here, "With Cloud Build", region="us-central1", more=" --no-source --async")
    (sent,) = here.builds
    build = yaml.safe_load(BUILD)
    assert sent["steps"] == build["steps"]
    assert sent["serviceAccount"] == build["serviceAccount"]
    given = {"COMMIT_SHA": "0123abc", "_REGION": "us-central1"}
    assert sent["substitutions"] == {**build["substitutions"], **given}


def test_a_wrong_value_and_a_missing_step_are_found(here: Cloud) -> None:
    build = yaml.safe_load(BUILD.replace("--concurrency=16", "--concurrency=80"))
    build["steps"] = [step for step in build["steps"] if step["id"] != "let-the-page-ask"]
    built(here, build)
    assert problems(here) == [
        f"{BACKEND}: concurrency is 80, not 16",
        f"{BACKEND}: invokers is set(), not {MEANT[BACKEND]['invokers']!r}",
    ]


def test_gcloud_takes_no_misspelt_flag_and_no_misspelt_field(here: Cloud) -> None:
    with pytest.raises(AssertionError, match="--cpu-bost"):
        built(here, yaml.safe_load(BUILD.replace("--cpu-boost", "--cpu-bost")))
    manifest = here.folder / "backend.yaml"
    manifest.write_text(filled(text("backend")).replace("livenessProbe", "livelinessProbe"))
    with pytest.raises(AssertionError, match="livelinessProbe"):
        here.gcloud("run", "services", "replace", str(manifest), "--region=europe-west1")
    assert problems(here) == [f"{name} is not deployed" for name in MEANT]
