"""Strict models of the part of Knative's Service that Cloud Run and Knative both support.

https://github.com/knative/specs/blob/main/specs/serving/knative-api-specification-1.0.md
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tests.conftest import ROOT

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
    """A model without extra fields or type conversions."""

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


class ValueFrom(Strict):
    secret: SecretKey = Field(alias="secretKeyRef")


class Variable(Strict):
    name: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
    value: str | None = None
    source: ValueFrom | None = Field(None, alias="valueFrom")


class HttpGet(Strict):
    path: Annotated[
        str, StringConstraints(pattern=r"^/.*[^z]$")
    ]  # Cloud Run reserves paths that end in z


class Probe(Strict):
    get: HttpGet = Field(alias="httpGet")
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


def read_manifest(name: str) -> str:
    """Return the manifest of `backend` or `frontend`."""
    return Path(ROOT, "deploy", f"{name}.service.yaml").read_text()


def fill_placeholders(manifest: str) -> str:
    """Return the manifest with the values that the documented commands insert."""
    return re.sub(rf"\b({'|'.join(VALUES)})\b", lambda found: VALUES[found[0]], manifest)


def uncommented(manifest: str) -> str:
    """Return the manifest with its optional, commented-out lines enabled."""
    return re.sub(r"^( +)# (  |- |run\.)", r"\1\2", manifest, flags=re.M)


def find_errors(manifest: str) -> list[str]:
    """Return unknown or missing fields and invalid values, one line each."""
    try:
        service = Service.model_validate(yaml.safe_load(fill_placeholders(manifest)))
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    (container,) = service.spec.template.spec.containers
    errors = [
        f"{probe.get.path}: the time-out is longer than the period"
        for probe in (container.startup, container.liveness)
        if probe.timeout > probe.period
    ]
    if container.startup.period * container.startup.failures > 240:
        errors.append("Cloud Run waits at most 240 seconds for the start")
    return errors + [
        f"{one.name}: needs either a value or a source"
        for one in container.env
        if (one.value is None) == (one.source is None)
    ]


def variables(manifest: str) -> dict[str, Any]:
    """Return the environment variables: name -> value, or the name of the secret."""
    service = Service.model_validate(yaml.safe_load(fill_placeholders(manifest)))
    (container,) = service.spec.template.spec.containers
    return {
        one.name: one.value if one.source is None else f"secret {one.source.secret.name}"
        for one in container.env
    }
