"""The manifests for Kubernetes, KServe, KubeRay and Cloud Run Jobs fit images and services."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.inference.runtimes.fake_runtime import FakeRuntime
from backend.server.lifecycle import STOP_UNTIL
from backend.settings import Settings
from bulk.cli import create_parser
from deploy.container_images import FRONTEND
from tests.conftest import ROOT
from tests.deploy.kubernetes import (
    CLOUD_RUN_JOB,
    FOLDER,
    KSERVE,
    RAY_JOB,
    Resource,
    base,
    find_errors,
    pod_templates,
    read_resources,
)
from tests.deploy.manifests import uncommented
from tests.deploy.test_manifests import FRONTEND_VARIABLES
from tests.fake_models import serve, write_model

FILES = [*sorted(FOLDER.glob("[abf]*.yaml")), KSERVE, RAY_JOB, CLOUD_RUN_JOB]
USER = 10001


def deployment(name: str) -> dict[str, Any]:
    """Return a Deployment, with its optional lines."""
    text = uncommented((FOLDER / f"{name}.yaml").read_text())
    (found,) = [each for each in yaml.safe_load_all(text) if each["kind"] == "Deployment"]
    resource: Resource = found
    return resource


def find(kind: str, name: str = "prism-backend") -> Resource:
    (found,) = [one for one in base() if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pods() -> list[dict[str, Any]]:
    """Return the pod specifications of all manifests for Kubernetes."""
    resources = [*base(), *read_resources(KSERVE), *read_resources(RAY_JOB)]
    return [template["spec"] for each in resources for template in pod_templates(each)]


def exposed_port(name: str) -> int:
    match = re.search(r"^EXPOSE (\d+)$", (ROOT / f"{name}.dockerfile").read_text(), re.M)
    assert match is not None
    return int(match[1])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_manifest_is_valid_also_with_its_optional_lines(path: Path) -> None:
    for text in {path.read_text(), uncommented(path.read_text())}:
        for resource in yaml.safe_load_all(text):
            assert find_errors(resource) == []


def test_kustomization_lists_all_files_and_images() -> None:
    content = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert set(content["resources"]) == {path.name for path in FILES if path.parent == FOLDER}
    images = {pod["containers"][0]["image"] for pod in pods()[:2]}
    assert {image["name"] for image in content["images"]} == images


@pytest.mark.parametrize(
    ("path", "right", "wrong", "where"),
    [
        (FOLDER / "backend.yaml", "readinessProbe:", "readyProbe:", "readyProbe"),
        (FOLDER / "autoscaling.yaml", "minReplicaCount", "minReplicas", "minReplicas"),
        (FOLDER / "autoscaling.yaml", "value: 100", 'value: "100"', "value"),
        (KSERVE, "scaleTarget: 16", "scaleGoal: 16", "scaleGoal"),
        (RAY_JOB, "backoffLimit: 3", 'backoffLimit: "3"', "backoffLimit"),
        (RAY_JOB, "securityContext: *pod", "security: *pod", "security"),
        (CLOUD_RUN_JOB, "taskCount: 50", "tasks: 50", "tasks"),
    ],
)
def test_wrong_fields_and_values_are_reported(
    path: Path, right: str, wrong: str, where: str
) -> None:
    text = path.read_text()
    assert right in text
    resources = list(yaml.safe_load_all(text.replace(right, wrong)))
    assert any(where in error for each in resources for error in find_errors(each))


def test_containers_have_the_restrictions_of_the_images() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == USER
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["enableServiceLinks"] is False, "variables of Services start with PRISM_"
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
        assert {"memory", "cpu"} <= set(container["resources"]["limits"])
    for name in ("backend", "frontend"):
        assert f"USER {USER}:{USER}" in (ROOT / f"{name}.dockerfile").read_text()


def test_ports_are_those_of_the_images() -> None:
    for name in ("backend", "frontend"):
        (container,) = deployment(name)["spec"]["template"]["spec"]["containers"]
        port = exposed_port(name)
        assert container["ports"] == [{"name": "http", "containerPort": port}]
        (service_port,) = find("Service", f"prism-{name}")["spec"]["ports"]
        assert service_port["targetPort"] == "http"
    annotations = deployment("backend")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(exposed_port("backend"))
    (predictor,) = pod_templates(read_resources(KSERVE)[0])
    assert predictor["spec"]["containers"][0]["ports"][0]["containerPort"] == exposed_port(
        "backend"
    )


def test_probes_and_metrics_are_paths_that_respond(tmp_path: Path) -> None:
    write_model(tmp_path)
    (predictor,) = pod_templates(read_resources(KSERVE)[0])
    template = deployment("backend")["spec"]["template"]
    containers = [template["spec"]["containers"][0], predictor["spec"]["containers"][0]]
    probes = [each for name in containers for key, each in name.items() if key.endswith("Probe")]
    paths = {probe["httpGet"]["path"] for probe in probes}
    assert paths == {"/ready", "/health", "/v2/health/ready", "/v2/health/live"}
    with serve(tmp_path, FakeRuntime(10)) as client:
        for path in (*paths, template["metadata"]["annotations"]["prometheus.io/path"]):
            assert client.get(path).status_code in (200, 503)  # 503: the model is loading
    (frontend,) = deployment("frontend")["spec"]["template"]["spec"]["containers"]
    assert frontend["readinessProbe"]["httpGet"]["path"] == FRONTEND.health


def test_variables_are_settings_of_the_services() -> None:
    known = {f"PRISM_{name.upper()}" for name in Settings.model_fields}
    (predictor,) = pod_templates(read_resources(KSERVE)[0])
    (container,) = deployment("backend")["spec"]["template"]["spec"]["containers"]
    variables = container["env"] + predictor["spec"]["containers"][0]["env"]
    assert {variable["name"] for variable in variables} <= known
    (frontend,) = deployment("frontend")["spec"]["template"]["spec"]["containers"]
    assert {variable["name"] for variable in frontend["env"]} <= FRONTEND_VARIABLES
    (address,) = [one["value"] for one in frontend["env"] if one["name"] == "BACKEND"]
    assert address == f"http://{find('Service')['metadata']['name']}"


@pytest.mark.parametrize("name", ["backend", "frontend"])
def test_pod_may_take_as_long_as_its_pause_and_the_graceful_shutdown(name: str) -> None:
    pod = deployment(name)["spec"]["template"]["spec"]
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    exit_after = STOP_UNTIL + 0.5  # docs/deploy.md: 8 seconds
    assert pod["terminationGracePeriodSeconds"] >= pause + exit_after + 5
    readiness = pod["containers"][0]["readinessProbe"]
    assert pause >= readiness["periodSeconds"]


def test_disruptions_and_updates_leave_pods_that_serve() -> None:
    for name in ("prism-backend", "prism-frontend"):
        budget, target = find("PodDisruptionBudget", name), find("Deployment", name)
        assert budget["spec"]["selector"] == target["spec"]["selector"]
        assert budget["spec"]["maxUnavailable"] == 1
        assert target["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert find("Deployment", "prism-frontend")["spec"]["replicas"] > 1
    assert find("ScaledObject")["spec"]["minReplicaCount"] > 1


def test_browser_sessions_stay_in_one_pod() -> None:
    assert find("Service", "prism-frontend")["spec"]["sessionAffinity"] == "ClientIP"


def test_autoscaler_scales_the_backend_on_the_queue() -> None:
    spec = find("ScaledObject")["spec"]
    assert spec["scaleTargetRef"]["name"] == find("Deployment")["metadata"]["name"]
    assert "replicas" not in find("Deployment")["spec"]
    query = spec["triggers"][0]["metadata"]["query"]
    namespace = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["namespace"]
    assert query == f'sum(avg_over_time(prism_queue_depth{{namespace="{namespace}"}}[1m]))'


def test_bulk_jobs_have_valid_arguments() -> None:
    (ray_job,), (job,) = read_resources(RAY_JOB), read_resources(CLOUD_RUN_JOB)
    program = ["python", "-m", "bulk"]
    entrypoint = shlex.split(ray_job["spec"]["entrypoint"])
    assert entrypoint[:3] == program
    assert create_parser().parse_args(entrypoint[3:]).ray == "auto"
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"] == program
    assert create_parser().parse_args(container["args"]).ray is None
    assert spec["parallelism"] <= spec["taskCount"]


def test_tasks_of_a_cloud_run_job_share_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_RUN_TASK_INDEX", "7")
    monkeypatch.setenv("CLOUD_RUN_TASK_COUNT", "50")
    (job,) = read_resources(CLOUD_RUN_JOB)
    arguments = pod_templates(job)[0]["spec"]["containers"][0]["args"]
    args = create_parser().parse_args(arguments)
    assert (args.task_index, args.task_count) == (7, 50)


def test_image_of_bulk_contains_all_that_bulk_imports(tmp_path: Path) -> None:
    text = (ROOT / "backend.dockerfile").read_text()
    _, _, rest = text.partition(" AS bulk\n")
    copied = set(re.findall(r"^COPY (\w+)/", rest.partition("\nFROM ")[0], re.M))
    for folder in copied | {"backend", "calibration"}:
        (tmp_path / folder).symlink_to(ROOT / folder)
    code = "import bulk.commands, bulk.local, bulk.cluster, bulk.operator"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
