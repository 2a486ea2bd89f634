"""Response models of the registry, and the functions that fill them."""

from datetime import datetime

from pydantic import BaseModel, Field

from backend.registry.index import ModelRecord, VersionRecord


class ModelVersion(BaseModel):
    """A version of a taught model."""

    name: str
    version: int = Field(description="Send `name@version` as `model` to classify with it.")
    created: datetime = Field(description="Time of the upload, UTC.")
    author: str | None = Field(description="Name of the API key that uploaded it.")
    reason: str | None = Field(description="Why it was uploaded.")
    active: bool = Field(description="Whether requests for the model's name get this version.")
    metrics: dict[str, float]
    labels: list[str]


class ModelVersions(BaseModel):
    """The versions of a taught model."""

    model: str
    active: int | None = Field(description="The version that requests for the name get.")
    previous: int | None = Field(description="The version that was active before, to roll back to.")
    versions: list[ModelVersion] = Field(description="The newest first.")


def model_version(name: str, record: VersionRecord, active: int | None) -> ModelVersion:
    """Return the schema of a version; `active` is the model's active version."""
    return ModelVersion(
        name=name,
        version=record.version,
        created=record.created,
        author=record.author,
        reason=record.reason,
        active=record.version == active,
        metrics=record.metrics,
        labels=list(record.labels),
    )


def model_versions(name: str, model: ModelRecord) -> ModelVersions:
    """Return the schema of all versions of a model."""
    versions = [model_version(name, each, model.active) for each in reversed(model.versions)]
    return ModelVersions(
        model=name, active=model.active, previous=model.previous, versions=versions
    )
