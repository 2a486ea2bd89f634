"""The part of Knative's Service that Cloud Run and Knative both read, as strict models.

https://github.com/knative/specs/blob/main/specs/serving/knative-api-specification-1.0.md
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tests.deploy.gcloud_commands import ROOT

NAMES = ("backend", "frontend")
VALUES = {
    "PROJECT": "demo",
    "REGION": "europe-west1",
    "REGISTRY": "europe-west1-docker.pkg.dev/demo/prism",
    "COMMIT": "0123abc",
    "BACKEND_URL": "https://prism-backend-123456789012.europe-west1.run.app",
}

Quantity = Annotated[str, StringConstraints(pattern=r"^\d+(m|Mi|Gi)?$")]
Scale = Annotated[str, StringConstraints(pattern=r"^\d+$")]


class Strict(BaseModel):
    """What holds nothing but its fields, of exactly their types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ServiceAnnotations(Strict):
    ingress: Literal["all", "internal"] = Field(alias="run.googleapis.com/ingress")


class Metadata(Strict):
    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,48}$")]
    annotations: ServiceAnnotations


class RevisionAnnotations(Strict):
    min_scale: Scale = Field(alias="autoscaling.knative.dev/minScale")
    max_scale: Scale = Field(alias="autoscaling.knative.dev/maxScale")
    boost: Literal["true"] = Field(alias="run.googleapis.com/startup-cpu-boost")
    affinity: Literal["true"] | None = Field(None, alias="run.googleapis.com/sessionAffinity")
    cloudsql: str | None = Field(None, alias="run.googleapis.com/cloudsql-instances")


class RevisionMetadata(Strict):
    annotations: RevisionAnnotations


class SecretKey(Strict):
    name: str
    key: Literal["latest"]


class From(Strict):
    secret: SecretKey = Field(alias="secretKeyRef")


class Variable(Strict):
    name: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
    value: str | None = None
    source: From | None = Field(None, alias="valueFrom")


class Path_(Strict):  # noqa: N801 (the other one is pathlib's)
    path: Annotated[str, StringConstraints(pattern=r"^/.*[^z]$")]  # Cloud Run keeps /…z to itself


class Probe(Strict):
    get: Path_ = Field(alias="httpGet")
    period: Annotated[int, Field(ge=1, le=240, alias="periodSeconds")]
    timeout: Annotated[int, Field(ge=1, alias="timeoutSeconds")]
    failures: Annotated[int, Field(ge=1, alias="failureThreshold")]


class Limits(Strict):
    cpu: Quantity
    memory: Quantity


class Resources(Strict):
    limits: Limits


class Container(Strict):
    image: Annotated[str, StringConstraints(pattern=r"^[a-z0-9./-]+:[a-z0-9]+$")]
    env: list[Variable]
    resources: Resources
    startup: Probe = Field(alias="startupProbe")
    liveness: Probe = Field(alias="livenessProbe")


class RevisionSpec(Strict):
    account: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z-]+@[a-z-]+\.iam\.gserviceaccount\.com$"),
        Field(alias="serviceAccountName"),
    ]
    concurrency: Annotated[int, Field(ge=1, le=1000, alias="containerConcurrency")]
    timeout: Annotated[int, Field(ge=1, le=3600, alias="timeoutSeconds")]
    containers: Annotated[list[Container], Field(min_length=1, max_length=1)]


class Template(Strict):
    metadata: RevisionMetadata
    spec: RevisionSpec


class Spec(Strict):
    template: Template


class Service(Strict):
    version: Literal["serving.knative.dev/v1"] = Field(alias="apiVersion")
    kind: Literal["Service"]
    metadata: Metadata
    spec: Spec


def text(name: str) -> str:
    """The manifest of `backend` or `frontend`."""
    return Path(ROOT, "deploy", f"{name}.service.yaml").read_text()


def filled(manifest: str) -> str:
    """A manifest with what the documented commands put into it."""
    return re.sub(rf"\b({'|'.join(VALUES)})\b", lambda found: VALUES[found[0]], manifest)


def uncommented(manifest: str) -> str:
    """A manifest with the lines that wait there, commented out."""
    return re.sub(r"^( +)# (  |- |run\.)", r"\1\2", manifest, flags=re.M)


def problems(manifest: str) -> list[str]:
    """What is no field of a service, is missing or has a value it cannot have; a line each."""
    try:
        service = Service.model_validate(yaml.safe_load(filled(manifest)))
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    (container,) = service.spec.template.spec.containers
    found = [
        f"{probe.get.path}: an answer may take longer than the time to the next question"
        for probe in (container.startup, container.liveness)
        if probe.timeout > probe.period
    ]
    if container.startup.period * container.startup.failures > 240:
        found.append("Cloud Run waits 240 seconds for a start at most")
    return found + [
        f"{one.name}: has to have either a value or a source"
        for one in container.env
        if (one.value is None) == (one.source is None)
    ]


def settings(manifest: str) -> dict[str, Any]:
    """The variables of a manifest: name -> value, or the name of the secret."""
    service = Service.model_validate(yaml.safe_load(filled(manifest)))
    (container,) = service.spec.template.spec.containers
    return {
        one.name: one.value if one.source is None else f"secret {one.source.secret.name}"
        for one in container.env
    }
