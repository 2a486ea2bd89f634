"""The services as files: what Cloud Run and Knative read in them."""

import re

import pytest
import yaml

from backend.settings import Settings
from tests.deploy.gcloud_commands import ROOT
from tests.deploy.manifests import NAMES, filled, problems, settings, text, uncommented

DOCUMENTS = "".join((ROOT / "docs" / f"{name}.md").read_text() for name in ("deploy", "cloud-run"))
PAGE_KNOWS = {
    "BACKEND",
    "BACKEND_API_KEY",
    "STREAMLIT_SERVER_MAX_UPLOAD_SIZE",
    "STREAMLIT_SERVER_COOKIE_SECRET",
}


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_one_that_both_platforms_know(name: str) -> None:
    assert problems(text(name)) == []
    assert problems(uncommented(text(name))) == []


@pytest.mark.parametrize(
    ("right", "wrong", "where"),
    [
        ("containerConcurrency: 16", "containerConcurency: 16", "containerConcurency"),
        ("containerConcurrency: 16", 'containerConcurrency: "16"', "containerConcurrency"),
        ("startupProbe:", "startProbe:", "startProbe"),
        ("path: /ready", "path: ready", "startupProbe"),
        ("path: /health", "path: /healthz", "livenessProbe"),
        ("dev/minScale", "dev/minscale", "minScale"),
        ('maxScale: "4"', "maxScale: 4", "maxScale"),
        ("memory: 512Mi", "memory: 512M", "memory"),
        ("serviceAccountName: prism-backend@PROJECT", "serviceAccountName: prism", "ccountName"),
        ("serving.knative.dev/v1", "serving.knative.dev/v2", "apiVersion"),
        ("failureThreshold: 60", "failureThreshold: 600", "240 seconds"),
        ("timeoutSeconds: 1\n", "timeoutSeconds: 2\n", "/ready"),
        ('value: "false"', "value: false", "value"),
        ("              value", "              valeu", "valeu"),
        ("REGISTRY/backend:COMMIT", "REGISTRY/backend:COMIT", "image"),
    ],
)
def test_a_mistake_is_found(right: str, wrong: str, where: str) -> None:
    manifest = text("backend")
    assert right in manifest
    found = problems(manifest.replace(right, wrong))
    assert any(where in one for one in found), found


def test_every_variable_is_one_that_the_service_reads() -> None:
    known = {f"PRISM_{name.upper()}" for name in Settings.model_fields}
    assert set(settings(uncommented(text("backend")))) <= known
    assert set(settings(uncommented(text("frontend")))) == PAGE_KNOWS


def test_the_page_says_no_to_more_than_cloud_run_lets_through() -> None:
    assert int(settings(text("frontend"))["STREAMLIT_SERVER_MAX_UPLOAD_SIZE"]) < 32


@pytest.mark.parametrize("name", NAMES)
def test_every_secret_is_made_and_opened_by_a_documented_command(name: str) -> None:
    for said in settings(uncommented(text(name))).values():
        if said.startswith("secret "):
            secret = said.removeprefix("secret ")
            assert re.search(rf"gcloud secrets create {secret} ", DOCUMENTS)
            opened = rf"add-iam-policy-binding {secret} \\\n +--member=\S*(prism-{name}|\$account)@"
            assert re.search(opened, DOCUMENTS)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_to_fill_in(name: str) -> None:
    done = yaml.safe_dump(yaml.safe_load(filled(uncommented(text(name)))))
    words = set(re.findall(r"\b[A-Z][A-Z_]+\b", done))
    assert words <= PAGE_KNOWS | {"PRISM_HISTORY", "PRISM_DATABASE_URL", "PRISM_API_KEYS"}
