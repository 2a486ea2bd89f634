"""The service manifests hold only fields that Cloud Run and Knative both accept."""

import pytest

from backend.settings import Settings
from tests.conftest import ROOT
from tests.deploy.manifests import (
    NAMES,
    find_errors,
    read_manifest,
    uncommented,
    variables,
)

FRONTEND_VARIABLES = {
    "PRISM_PAGE_STORE",
    "BACKEND",
    "BACKEND_API_KEY",
    "PRISM_PAGE_USERS",
    "STREAMLIT_SERVER_MAX_UPLOAD_SIZE",
    "STREAMLIT_SERVER_COOKIE_SECRET",
}


@pytest.mark.parametrize("name", NAMES)
def test_manifest_is_valid_also_with_its_optional_lines(name: str) -> None:
    assert find_errors(read_manifest(name)) == []
    assert find_errors(uncommented(read_manifest(name))) == []


@pytest.mark.parametrize(
    ("right", "wrong", "where"),
    [
        ("containerConcurrency: 16", 'containerConcurrency: "16"', "containerConcurrency"),
        ("startupProbe:", "startProbe:", "startProbe"),
        ("failureThreshold: 60", "failureThreshold: 600", "240 seconds"),
    ],
)
def test_wrong_fields_and_values_are_reported(right: str, wrong: str, where: str) -> None:
    manifest = read_manifest("backend")
    assert right in manifest
    assert any(where in error for error in find_errors(manifest.replace(right, wrong)))


def test_services_read_every_variable_of_their_manifests() -> None:
    known = {f"PRISM_{name.upper()}" for name in Settings.model_fields}
    assert set(variables(uncommented(read_manifest("backend")))) <= known
    assert set(variables(uncommented(read_manifest("frontend")))) == FRONTEND_VARIABLES


def test_backend_names_clients_by_the_address_that_cloud_run_appends() -> None:
    assert variables(read_manifest("backend"))["PRISM_TRUSTED_PROXIES"] == "1"
    build = (ROOT / "cloudbuild.yaml").read_text()
    assert "--update-env-vars=PRISM_HISTORY=${_HISTORY},PRISM_TRUSTED_PROXIES=1" in build


def test_upload_limit_is_below_the_request_limit_of_cloud_run() -> None:
    assert int(variables(read_manifest("frontend"))["STREAMLIT_SERVER_MAX_UPLOAD_SIZE"]) < 32
