"""The manifests for Kubernetes, and strict models of the custom resources among them.

`kubernetes-validate` has the schemas of Kubernetes itself, also of the pods in custom resources.
The packages of the tests have none of KEDA, KServe, KubeRay and Cloud Run Jobs: the models here
contain the fields that the manifests use. tests/extended/test_custom_resources.py reads the
published schemas of all but KubeRay, whose schemas no package has.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import kubernetes_validate
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from tests.conftest import ROOT

VERSION = "1.30"  # the oldest supported version of Kubernetes
FOLDER = ROOT / "deploy" / "kubernetes"
KSERVE = ROOT / "deploy" / "kserve.yaml"
RAY_JOB = ROOT / "deploy" / "bulk.rayjob.yaml"
CLOUD_RUN_JOB = ROOT / "deploy" / "bulk.job.yaml"
# Fields of KServe's predictor besides those of a pod.
PREDICTOR = frozenset(
    ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "containerConcurrency", "timeout")
)

Count = Annotated[int, Field(ge=0)]


class Strict(BaseModel):
    """A model without extra fields or type conversions, whose fields are in camel case."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class Metadata(Strict):
    name: str


class Trigger(Strict):
    type: Literal["prometheus"]
    metric_type: Literal["AverageValue", "Value"]
    metadata: dict[str, str]


class Fallback(Strict):
    failure_threshold: Count
    replicas: Count


class HorizontalPodAutoscalerConfig(Strict):
    behavior: dict[str, Any]  # validated as part of a HorizontalPodAutoscaler


class Advanced(Strict):
    horizontal_pod_autoscaler_config: HorizontalPodAutoscalerConfig


class ScaledObjectSpec(Strict):
    scale_target_ref: Metadata
    min_replica_count: Count
    max_replica_count: Count
    polling_interval: Count
    fallback: Fallback
    advanced: Advanced
    triggers: list[Trigger]


class ScaledObject(Strict):
    api_version: Literal["keda.sh/v1alpha1"]
    kind: Literal["ScaledObject"]
    metadata: Metadata
    spec: ScaledObjectSpec


class InferenceServiceSpec(Strict):
    predictor: dict[str, Any]  # a pod and PREDICTOR


class InferenceService(Strict):
    api_version: Literal["serving.kserve.io/v1beta1"]
    kind: Literal["InferenceService"]
    metadata: Metadata
    spec: InferenceServiceSpec


class Group(Strict):
    ray_start_params: dict[str, str]
    template: dict[str, Any]  # a pod


class WorkerGroup(Group):
    group_name: str
    replicas: Count
    min_replicas: Count
    max_replicas: Count


class AutoscalerOptions(Strict):
    idle_timeout_seconds: Count


class RayClusterSpec(Strict):
    enable_in_tree_autoscaling: bool
    autoscaler_options: AutoscalerOptions
    head_group_spec: Group
    worker_group_specs: list[WorkerGroup]


class RayJobSpec(Strict):
    entrypoint: str
    submission_mode: Literal["K8sJobMode", "HTTPMode", "SidecarMode"]
    backoff_limit: Count
    shutdown_after_job_finishes: bool
    ttl_seconds_after_finished: Count
    ray_cluster_spec: RayClusterSpec


class RayJob(Strict):
    api_version: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: RayJobSpec


class TaskSpec(Strict):
    service_account_name: str
    max_retries: Annotated[int, Field(ge=0, le=10)]
    timeout_seconds: str
    containers: list[dict[str, Any]]  # validated as containers of a pod


class TaskTemplate(Strict):
    spec: TaskSpec


class ExecutionSpec(Strict):
    task_count: Annotated[int, Field(ge=1, le=10_000)]
    parallelism: Count
    template: TaskTemplate


class ExecutionTemplate(Strict):
    spec: ExecutionSpec


class JobSpec(Strict):
    template: ExecutionTemplate


class CloudRunJob(Strict):
    api_version: Literal["run.googleapis.com/v1"]
    kind: Literal["Job"]
    metadata: Metadata
    spec: JobSpec


Resource = dict[str, Any]
MODELS: dict[str, type[Strict]] = {
    "keda.sh/v1alpha1": ScaledObject,
    "serving.kserve.io/v1beta1": InferenceService,
    "ray.io/v1": RayJob,
    "run.googleapis.com/v1": CloudRunJob,
}


def read_resources(path: Path) -> list[Resource]:
    """Return the resources of a file."""
    return list(yaml.safe_load_all(path.read_text()))


def base() -> list[Resource]:
    """Return the resources that kustomization.yaml lists."""
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    return [each for name in listed for each in read_resources(FOLDER / name)]


def find_errors(resource: Resource) -> list[str]:
    """Return unknown or missing fields and invalid values, one line each."""
    model = MODELS.get(resource["apiVersion"])
    try:
        if model is not None:
            model.model_validate(resource)
        for each in [resource] if model is None else standard_parts(resource):
            kubernetes_validate.validate(each, VERSION, strict=True)
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


def standard_parts(resource: Resource) -> Iterator[Resource]:
    """Yield the pods and autoscalers within a custom resource as resources of Kubernetes."""
    spec = resource["spec"]
    if resource["kind"] == "ScaledObject":
        yield {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "spec": {
                "maxReplicas": spec["maxReplicaCount"],
                "scaleTargetRef": {"kind": "Deployment", **spec["scaleTargetRef"]},
                "behavior": spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
            },
        }
    for template in pod_templates(resource):
        yield {"apiVersion": "v1", "kind": "PodTemplate", "template": template}


def pod_templates(resource: Resource) -> list[dict[str, Any]]:
    """Return the templates of the pods that a resource creates."""
    spec = resource["spec"]
    match resource["kind"]:
        case "Deployment":
            return [spec["template"]]
        case "InferenceService":
            predictor = spec["predictor"].items()
            return [{"spec": {name: value for name, value in predictor if name not in PREDICTOR}}]
        case "RayJob":
            cluster = spec["rayClusterSpec"]
            groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
            return [group["template"] for group in groups]
        case "Job":
            task = spec["template"]["spec"]["template"]["spec"]
            containers = [{"name": "bulk", **each} for each in task["containers"]]
            return [{"spec": {"containers": containers}}]
    return []
