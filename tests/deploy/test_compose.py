"""compose.yaml: schema, hardening, addresses and the PostgreSQL profile."""

import re
from typing import Any

import pytest
import yaml

from backend.settings import Settings
from tests.conftest import ROOT
from tests.deploy.schemas import schema_errors

FILE = ROOT / "compose.yaml"


def services(**environ: str) -> dict[str, Any]:
    """Return the services as compose reads them with these variables set."""

    def fill(found: re.Match[str]) -> str:
        value = environ.get(found[1], "")
        return (found[3] if value else "") if found[2] == ":+" else value or found[3]

    text = re.sub(r"\$\{(\w+)(:[+-])([^}]*)\}", fill, FILE.read_text())
    loaded: dict[str, Any] = yaml.safe_load(text)["services"]
    return loaded


def test_file_is_valid_by_the_published_schema() -> None:
    assert schema_errors("vendor.compose-spec", FILE) == ""


@pytest.mark.parametrize("name", ["backend", "frontend", "postgres", "prometheus", "grafana"])
def test_service_is_hardened_and_listens_on_loopback_only(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_only_backend_and_frontend_start_without_a_profile() -> None:
    started = {name for name, service in services().items() if "profiles" not in service}
    assert started == {"backend", "frontend"}


def test_frontend_waits_for_the_backend_and_has_its_address() -> None:
    frontend = services()["frontend"]
    assert frontend["depends_on"]["backend"] == {"condition": "service_healthy"}
    assert frontend["environment"]["BACKEND"] == "http://backend:8000"


def test_backend_uses_sqlite_on_a_volume_unless_a_password_is_set() -> None:
    backend = services()["backend"]
    assert backend["environment"]["PRISM_DATABASE_URL"] in ("", None)
    assert f"data:{backend['environment']['PRISM_DATA_DIR']}" in backend["volumes"]
    known = {f"PRISM_{name.upper()}" for name in Settings.model_fields}
    assert set(backend["environment"]) <= known | {"PGPASSWORD"}


def test_backend_accepts_only_the_names_that_the_frontend_and_this_machine_use() -> None:
    names = services()["backend"]["environment"]["PRISM_ALLOWED_HOSTS"]
    assert names == "localhost,127.0.0.1,backend"


def test_postgres_profile_gives_both_services_the_same_database_and_password() -> None:
    given = services(POSTGRES_PASSWORD="p@ss/word")
    backend, postgres = given["backend"], given["postgres"]
    user, database = (postgres["environment"][f"POSTGRES_{key}"] for key in ("USER", "DB"))
    url = f"postgresql://{user}@postgres/{database}"
    assert backend["environment"]["PRISM_DATABASE_URL"] == url
    assert backend["environment"]["PGPASSWORD"] == "p@ss/word"
    assert postgres["environment"]["POSTGRES_PASSWORD"] == "p@ss/word"
    assert backend["build"]["args"]["POSTGRES"] == "1"


def test_results_of_the_page_are_on_a_volume() -> None:
    frontend = services()["frontend"]
    assert frontend["environment"]["PRISM_PAGE_STORE"] == "sqlite:////data/page.db"
    assert frontend["volumes"] == ["page:/data"]
    image = (ROOT / "frontend.dockerfile").read_text()
    assert "install -d -o 10001 -g 10001 /data" in image


def test_monitoring_profile_mounts_files_that_exist_and_agree() -> None:
    prometheus, grafana = services()["prometheus"], services()["grafana"]
    assert prometheus["profiles"] == grafana["profiles"] == ["monitoring"]
    mounted = {}
    for volume in prometheus["volumes"] + grafana["volumes"]:
        source, target, *_ = volume.split(":")
        if source.startswith("./"):
            mounted[target] = ROOT / source
            assert mounted[target].is_file()
    config = yaml.safe_load(mounted["/etc/prometheus/prometheus.yml"].read_text())
    assert set(config["rule_files"]) <= set(mounted)
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["backend:8000"]}]
    assert 'job="prism-backend"' in mounted[config["rule_files"][0]].read_text()
    assert job["job_name"] == "prism-backend"
    provider = yaml.safe_load(
        mounted["/etc/grafana/provisioning/dashboards/prism.yaml"].read_text()
    )
    dashboard = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert dashboard in mounted
    assert dashboard.startswith(f"{provider['providers'][0]['options']['path']}/")
    sources = yaml.safe_load(
        mounted["/etc/grafana/provisioning/datasources/prism.yaml"].read_text()
    )
    uids = set(
        re.findall(r'"type": "prometheus",\s+"uid": "(\w+)"', mounted[dashboard].read_text())
    )
    assert uids == {sources["datasources"][0]["uid"]}
