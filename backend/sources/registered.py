"""Locations of models in a registry: MLflow, and the artifacts of Weights & Biases."""

import re
from typing import Final

from pydantic import BaseModel

from backend.inference.errors import ArtifactError

_LOCATIONS: Final = {
    "mlflow": re.compile(
        r"mlflow:models:/(?P<name>[^/:@%?#\\\x00-\x1f]{1,256})"
        r"(/(?P<version>[0-9]{1,9})|/(?P<latest>latest)|@(?P<alias>[\w-]{1,256}))"
    ),
    "wandb": re.compile(
        r"wandb:(?P<entity>[\w.-]{1,128})/(?P<project>[\w .-]{1,128})/(?P<name>[\w.-]{1,128})"
        r":((?P<version>v[0-9]{1,9})|(?P<alias>[\w .-]{1,128}))"
    ),
}
_FORMS: Final = {
    "mlflow": "mlflow:models:/NAME@ALIAS, mlflow:models:/NAME/VERSION or "
    "mlflow:models:/NAME/latest",
    "wandb": "wandb:ENTITY/PROJECT/NAME:ALIAS or wandb:ENTITY/PROJECT/NAME:vNUMBER",
}


class RegisteredModel(BaseModel, frozen=True):
    """A model in a registry: either a fixed `version` of it, or the one that has the `alias`.

    `entity` and `project` are parts of the name at Weights & Biases.
    """

    name: str
    version: str | None = None
    alias: str | None = None
    entity: str = ""
    project: str = ""


def registry_of(location: str) -> str | None:
    """Return the scheme, `mlflow` or `wandb`, of a location in a registry, else None."""
    scheme, colon, _ = location.partition(":")
    return scheme if colon and scheme in _LOCATIONS else None


def parse_registered(location: str) -> RegisteredModel:
    """Parse a location in a registry; raise ArtifactError, without it, if it is malformed."""
    scheme = location.partition(":")[0]
    match = _LOCATIONS[scheme].fullmatch(location)
    if match is None:
        raise ArtifactError(f"{scheme}: is not followed by a model; write {_FORMS[scheme]}")
    parts = match.groupdict()
    latest = parts.pop("latest", None)
    return RegisteredModel(**parts | {"alias": parts["alias"] or latest})
