"""The index of the registry: which models and versions exist, and which version is active.

It is one small JSON file, the only one that ever changes: a change of it is atomic, and workers
poll nothing else.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.inference.models.artifact import NAME_PATTERN
from backend.registry.errors import (
    ActiveVersionError,
    StoreFullError,
    StoreUnavailableError,
    UnknownVersionError,
)

FORMAT: Final = 1
MAX_MODELS: Final = 1_000
MAX_VERSIONS: Final = 5_000  # of one model
VersionId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class NewVersion(BaseModel):
    """A version without a number. `id` names its files in the store and is never used again."""

    model_config = ConfigDict(frozen=True)

    id: VersionId
    bytes: int = Field(ge=0, description="size of all files")
    labels: tuple[str, ...]
    metrics: dict[str, float] = {}
    author: str | None = None
    reason: str | None = None


class VersionRecord(NewVersion):
    """One version of a model."""

    version: int = Field(ge=1)
    created: datetime


class ShadowRecord(BaseModel):
    """A version that classifies a `share` of a model's images, and is not returned."""

    model_config = ConfigDict(frozen=True)

    version: int = Field(ge=1)
    share: float = Field(gt=0, le=1)
    since: datetime


class ModelRecord(BaseModel):
    """The versions of a model, oldest first. `active` is None if none of them is served."""

    model_config = ConfigDict(frozen=True)

    versions: tuple[VersionRecord, ...] = ()
    active: int | None = None
    previous: int | None = Field(None, description="the version that was active before")
    shadow: ShadowRecord | None = None  # never of the active version
    next: int = Field(1, ge=1, description="number of the next version")

    @property
    def latest(self) -> VersionRecord | None:
        """The version with the highest number."""
        return self.versions[-1] if self.versions else None

    @property
    def shadow_record(self) -> VersionRecord | None:
        """The version of the shadow."""
        return self.find(self.shadow.version) if self.shadow else None

    def find(self, version: int | None) -> VersionRecord | None:
        """Return the version of this number, or None."""
        return next((each for each in self.versions if each.version == version), None)


class Index(BaseModel):
    """All models by name. The methods return changed copies."""

    model_config = ConfigDict(frozen=True)

    format: int = Field(FORMAT, le=FORMAT)
    models: dict[Annotated[str, Field(pattern=NAME_PATTERN)], ModelRecord] = {}

    @classmethod
    def parse(cls, content: bytes) -> "Index":
        """Return the index in a file (empty: no models); raise StoreUnavailableError."""
        try:
            return cls.model_validate_json(content) if content else cls()
        except ValidationError as error:
            raise StoreUnavailableError(
                "The index of the model store is damaged, or of a newer version of Prism."
            ) from error

    def records(self) -> Iterator[VersionRecord]:
        """Yield all versions of all models."""
        for model in self.models.values():
            yield from model.versions

    def active_bytes(self) -> int:
        """Return the size of all active versions and shadows."""
        models = self.models.values()
        records = [
            record for each in models for record in (each.find(each.active), each.shadow_record)
        ]
        return sum(record.bytes for record in records if record)

    def get(self, name: str, version: int) -> VersionRecord:
        """Return a version; raise UnknownVersionError."""
        record = self.models.get(name, ModelRecord()).find(version)
        if record is None:
            raise UnknownVersionError(
                f"The model has no version {version}. GET /models/NAME/versions lists its versions."
            )
        return record

    def add(self, name: str, new: NewVersion, *, activate: bool) -> "Index":
        """Add a version with the next number. Raise StoreFullError beyond the limits."""
        model = self.models.get(name, ModelRecord())
        if name not in self.models and len(self.models) >= MAX_MODELS:
            raise StoreFullError(f"There are {MAX_MODELS:,} taught models. Delete one first.")
        if len(model.versions) >= MAX_VERSIONS:
            raise StoreFullError(f"The model has {MAX_VERSIONS:,} versions. Delete some first.")
        created = datetime.now(UTC).replace(microsecond=0)
        record = VersionRecord(version=model.next, created=created, **dict(new))
        added = self._replace(name, versions=(*model.versions, record), next=model.next + 1)
        return added.activate(name, record.version) if activate else added

    def activate(self, name: str, version: int) -> "Index":
        """Make a version the active one; if it was the shadow, that ends.

        Raise UnknownVersionError.
        """
        self.get(name, version)
        model = self.models[name]
        previous = model.previous if model.active == version else model.active
        return self._replace(
            name, active=version, previous=previous, shadow=self._other_shadow(name, version)
        )

    def set_shadow(self, name: str, version: int, share: float) -> "Index":
        """Make a version the shadow; if it already is, only change its share.

        Raise UnknownVersionError, or ActiveVersionError for the active version.
        """
        self.get(name, version)
        model = self.models[name]
        if model.active is None:
            raise UnknownVersionError("The model has no active version. Activate one first.")
        if model.active == version:
            raise ActiveVersionError(
                f"Version {version} is active, so it cannot be the shadow. Choose another version."
            )
        is_same = model.shadow is not None and model.shadow.version == version
        since = model.shadow.since if model.shadow and is_same else datetime.now(UTC)
        return self._replace(name, shadow=ShadowRecord(version=version, share=share, since=since))

    def remove_shadow(self, name: str) -> "Index":
        """End the shadow of a model, if it has one."""
        return self._replace(name, shadow=None) if name in self.models else self

    def remove_version(self, name: str, version: int) -> "Index":
        """Remove a version. Raise UnknownVersionError, or ActiveVersionError for the active one."""
        self.get(name, version)
        model = self.models[name]
        if model.active == version:
            raise ActiveVersionError(
                f"Version {version} is active. Activate another version first, or delete the model."
            )
        versions = tuple(each for each in model.versions if each.version != version)
        previous = None if model.previous == version else model.previous
        return self._replace(
            name,
            versions=versions,
            previous=previous,
            shadow=self._other_shadow(name, version),
        )

    def remove_model(self, name: str) -> "Index":
        """Remove a model with all its versions."""
        models = {key: model for key, model in self.models.items() if key != name}
        return self.model_copy(update={"models": models})

    def _other_shadow(self, name: str, version: int) -> ShadowRecord | None:
        """Return the shadow of a model unless it is this version."""
        shadow = self.models[name].shadow
        return None if shadow and shadow.version == version else shadow

    def _replace(self, name: str, **fields: object) -> "Index":
        model = self.models.get(name, ModelRecord()).model_copy(update=fields)
        return self.model_copy(update={"models": self.models | {name: model}})
