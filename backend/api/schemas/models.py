"""Response models of /models, and the functions that fill them."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from backend.catalog import AUTO, Entry, State
from backend.inference.autotune import Plan
from backend.inference.models import artifact
from calibration.apply import Calibration


class ModelInput(BaseModel):
    """Input of a model: the kind of preprocessing, and the shape (channels, height, width)."""

    kind: str
    shape: list[int]


class ModelInfo(BaseModel):
    """A served model."""

    name: str
    version: str | None = None
    title: str = ""
    description: str = ""
    state: State
    error: str | None = None
    runtime: str | None = None
    architecture: str | None = None
    labels: list[str] = []
    label_ids: list[str] | None = Field(
        default=None, description="An identifier for each label, such as its WordNet ID."
    )
    input: ModelInput | None = None
    metrics: dict[str, float] = {}
    calibration: Calibration | None = None
    license: str | None = None


class ModelDetail(ModelInfo):
    """A served model with its card."""

    card: str | None = Field(default=None, description="Model card, in Markdown.")
    plan: Plan | None = Field(default=None, description="Current use of threads and batches.")


class ModelList(BaseModel):
    """The served models."""

    default: str = Field(description="Model for requests that name none; a name, or `auto`.")
    auto: list[str] | None = Field(
        description="Models that `model=auto` asks in order: the first for which the image is in "
        "distribution classifies it, else the last. Null unless at least two are served."
    )
    models: list[ModelInfo]


def auto_detail(entries: Sequence[Entry]) -> ModelDetail:
    """Return the description of the automatic choice among the models `entries`."""
    states = [entry.state for entry in entries]
    last = entries[-1].name
    return ModelDetail(
        name=AUTO,
        title="Automatic",
        description=f"Asks {', '.join(entry.name for entry in entries)} in this order. The first "
        f"model for which the image is in distribution classifies it, else {last}.",
        state=next((state for state in ("failed", "loading") if state in states), "ready"),
        error=next((f"{entry.name}: {entry.error}" for entry in entries if entry.error), None),
    )


def model_detail(entry: Entry) -> ModelDetail:
    """Return the schema of a model with its card, if its folder contains one."""
    card = artifact.read_card(entry.folder) if entry.folder and entry.classifier else None
    plan = entry.classifier.plan if entry.classifier else None
    return ModelDetail(**model_info(entry).model_dump(), card=card, plan=plan)


def model_info(entry: Entry) -> ModelInfo:
    """Return the schema of a model; until it is ready only its name, state and error."""
    if entry.classifier is None:
        return ModelInfo(name=entry.name, state=entry.state, error=entry.error)
    manifest = entry.classifier.manifest
    return ModelInfo(
        name=entry.name,
        version=manifest.version,
        title=manifest.title,
        description=manifest.description,
        state=entry.state,
        runtime=entry.classifier.runtime_name,
        architecture=manifest.architecture,
        labels=list(manifest.labels),
        label_ids=list(manifest.label_ids) if manifest.label_ids else None,
        input=ModelInput(
            kind=manifest.preprocess.kind, shape=list(manifest.preprocess.input_shape)
        ),
        metrics=manifest.metrics,
        calibration=manifest.calibration,
        license=manifest.license,
    )
