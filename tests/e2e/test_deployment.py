"""Deploy with the real gcloud to a fake cloud, by each of the three ways of docs/deploy.md.

The commands run as the document gives them, and all three ways deploy the same services.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.deploy.cloud_build import substitute
from tests.deploy.gcloud_commands import bash_blocks
from tests.deploy.manifests import fill_placeholders, read_manifest
from tests.e2e.fake_cloud import NUMBER, PROJECT, Cloud, fake_cloud

DOCUMENT = (ROOT / "docs" / "deploy.md").read_text().replace("my-project", "demo")
BUILD = (ROOT / "cloudbuild.yaml").read_text()

BACKEND, FRONTEND = "prism-backend", "prism-frontend"
IMAGES = "europe-west1-docker.pkg.dev/demo/prism"
STARTUP = {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 60}
LIVENESS = {"periodSeconds": 30, "timeoutSeconds": 5, "failureThreshold": 3}
EXPECTED: dict[str, dict[str, Any]] = {
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
        "startup": {"httpGet": {"path": "/ready"}, **STARTUP},
        "liveness": {"httpGet": {"path": "/health"}, **LIVENESS},
        "env": {"PRISM_HISTORY": "false", "PRISM_TRUSTED_PROXIES": "1"},
        "invokers": {"serviceAccount:prism-frontend@demo.iam.gserviceaccount.com"},
    },
    FRONTEND: {
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
        "startup": {"httpGet": {"path": "/_stcore/health"}, **STARTUP},
        "liveness": {"httpGet": {"path": "/_stcore/health"}, **LIVENESS},
        "env": {
            "BACKEND": "https://prism-backend-123456789012.europe-west1.run.app",
            "STREAMLIT_SERVER_MAX_UPLOAD_SIZE": "30",
            "STREAMLIT_SERVER_COOKIE_SECRET": {"name": "prism-cookie-secret", "key": "latest"},
        },
        "invokers": {"allUsers"},
    },
}


def deployed(cloud: Cloud, name: str) -> dict[str, Any]:
    """Return the settings of a deployed service."""
    service = cloud.services[name]
    template = service["spec"]["template"]
    notes, spec = template["metadata"]["annotations"], template["spec"]
    (container,) = spec["containers"]
    scale = "autoscaling.knative.dev"
    return {
        "region": cloud.regions[name],
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
        "invokers": cloud.members(name),
    }


def differences(cloud: Cloud) -> list[str]:
    """Return the differences between deployed and expected services, one line each."""
    found = [f"unhandled request: {one}" for one in cloud.unhandled]
    for name, expected in EXPECTED.items():
        if name not in cloud.services:
            found.append(f"{name} is not deployed")
            continue
        actual = deployed(cloud, name)
        found += [
            f"{name}: {field} is {actual[field]!r}, not {value!r}"
            for field, value in expected.items()
            if actual[field] != value
        ]
    return found


def run_sections(cloud: Cloud, *headings: str) -> None:
    """Run the commands below these headings in one shell."""
    cloud.script(
        "\n".join(block for heading in headings for block in bash_blocks(DOCUMENT, heading))
    )


def run_section(
    cloud: Cloud, heading: str, *, region: str = "europe-west1", more: str = ""
) -> None:
    """Run a section with the project and its number set, so that gcloud need not look them up."""
    (variables,) = bash_blocks(DOCUMENT, "Cloud Run")
    known = re.sub(r"^gcloud config.*\n", "", variables, flags=re.M)
    known = re.sub(r"^NUMBER=.*", f"NUMBER={NUMBER}", known, flags=re.M)
    known = known.replace("REGION=europe-west1", f"REGION={region}")
    assert "gcloud" not in known
    cloud.script("\n".join([known, *bash_blocks(DOCUMENT, heading)]).rstrip() + more, PROJECT)


def run_build(cloud: Cloud, build: dict[str, Any]) -> None:
    """Run the gcloud steps of a build."""
    for step in substitute(build)["steps"]:
        if step.get("entrypoint") == "gcloud":
            cloud.gcloud(*step["args"])


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with fake_cloud(tmp_path) as one:
        yield one


def test_deployment_by_command(cloud: Cloud) -> None:
    run_sections(cloud, "Cloud Run", "By command")
    assert differences(cloud) == []


def test_deployment_by_manifest(cloud: Cloud) -> None:
    run_section(cloud, "By file")
    assert differences(cloud) == []


def test_deployment_with_cloud_build(cloud: Cloud) -> None:
    run_build(cloud, yaml.safe_load(BUILD))
    assert differences(cloud) == []


def test_build_makes_the_backend_private_again_and_keeps_added_settings(cloud: Cloud) -> None:
    build = yaml.safe_load(BUILD)
    build["steps"] = [step for step in build["steps"] if step["id"] == "deploy-backend"]
    build["substitutions"]["_BACKEND_ACCESS"] = "--allow-unauthenticated"
    run_build(cloud, build)
    assert cloud.members(BACKEND) == {"allUsers"}
    added = [
        "--update-secrets=PRISM_DATABASE_URL=prism-database-url:latest",
        "--update-env-vars=PRISM_HISTORY_OPEN=true",
    ]
    cloud.gcloud("run", "services", "update", BACKEND, "--region=europe-west1", *added)
    build["substitutions"]["_HISTORY"] = "true"
    build["substitutions"]["_BACKEND_ACCESS"] = "--no-allow-unauthenticated"
    run_build(cloud, build)
    assert cloud.members(BACKEND) == set()
    assert deployed(cloud, BACKEND)["env"] == {
        "PRISM_HISTORY": "true",
        "PRISM_HISTORY_OPEN": "true",
        "PRISM_TRUSTED_PROXIES": "1",
        "PRISM_DATABASE_URL": {"name": "prism-database-url", "key": "latest"},
    }


def test_frontend_without_an_address_may_look_up_the_backend(cloud: Cloud) -> None:
    run_sections(cloud, "Cloud Run", "By command", "How the page finds the backend")
    env = deployed(cloud, FRONTEND)["env"]
    assert "BACKEND" not in env
    assert env["PRISM_BACKEND_SERVICE"] == BACKEND
    assert env["STREAMLIT_SERVER_MAX_UPLOAD_SIZE"] == "30"
    account = EXPECTED[FRONTEND]["account"]
    assert cloud.members(BACKEND, "roles/run.viewer") == {f"serviceAccount:{account}"}
    assert cloud.members(BACKEND) == EXPECTED[BACKEND]["invokers"]


def test_submitted_build_is_the_file_with_its_substitutions(cloud: Cloud) -> None:
    run_section(cloud, "With Cloud Build", region="us-central1", more=" --no-source --async")
    (sent,) = cloud.builds
    build = yaml.safe_load(BUILD)
    assert sent["steps"] == build["steps"]
    assert sent["serviceAccount"] == build["serviceAccount"]
    given = {"COMMIT_SHA": "0123abc", "_REGION": "us-central1"}
    assert sent["substitutions"] == {**build["substitutions"], **given}


def test_wrong_value_and_missing_step_are_reported(cloud: Cloud) -> None:
    build = yaml.safe_load(BUILD.replace("--concurrency=16", "--concurrency=80"))
    build["steps"] = [step for step in build["steps"] if step["id"] != "allow-frontend"]
    run_build(cloud, build)
    assert differences(cloud) == [
        f"{BACKEND}: concurrency is 80, not 16",
        f"{BACKEND}: invokers is set(), not {EXPECTED[BACKEND]['invokers']!r}",
    ]


def test_gcloud_rejects_misspelled_flags_and_fields(cloud: Cloud) -> None:
    with pytest.raises(AssertionError, match="--cpu-bost"):
        run_build(cloud, yaml.safe_load(BUILD.replace("--cpu-boost", "--cpu-bost")))
    manifest = cloud.folder / "backend.yaml"
    manifest.write_text(
        fill_placeholders(read_manifest("backend")).replace("livenessProbe", "livelinessProbe")
    )
    with pytest.raises(AssertionError, match="livelinessProbe"):
        cloud.gcloud("run", "services", "replace", str(manifest), "--region=europe-west1")
    assert differences(cloud) == [f"{name} is not deployed" for name in EXPECTED]
