"""Response models of /models, and the functions that fill them."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from backend.catalog import AUTO
from backend.inference.autotune import Plan
from backend.inference.models import artifact
from backend.inference.preprocessing.model_input import Preprocess
from backend.inference.runtimes import Precision
from backend.served_model import ServedModel, State
from calibration.apply import Calibration
from calibration.sigmoid import SINGLE_LABEL, Task


class ModelInput(BaseModel):
    """Input of a model: the kind of preprocessing, and the shape (channels, height, width)."""

    kind: str
    shape: list[int]


class ModelInfo(BaseModel):
    """A served model."""

    name: str
    version: str | None = None
    taught: bool = Field(
        default=False,
        description="Whether the model has versions, and clients can replace or delete it.",
    )
    title: str = ""
    description: str = ""
    state: State
    loaded: bool = Field(
        default=False,
        description="Whether the network is loaded. That of a model that is ready and not loaded "
        "is loaded by the first request.",
    )
    error: str | None = None
    runtime: str | None = None
    precision: Precision | None = Field(
        default=None, description="fp32 or int8; the plan of the model contains the reason."
    )
    architecture: str | None = None
    backbone: artifact.Backbone | None = Field(
        default=None, description="The model whose features a taught model classifies."
    )
    task: Task = Field(
        default=SINGLE_LABEL,
        description="`single-label`: one label of each image is right. `binary`: the same, with a "
        "network that has one output. `multi-label`: any number of labels are right.",
    )
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
    preprocess: Preprocess | None = Field(
        default=None, description="How an image becomes the input; a field of the manifest."
    )
    plan: Plan | None = Field(default=None, description="Current use of threads and batches.")


class ModelList(BaseModel):
    """The served models."""

    default: str = Field(description="Model for requests that name none; a name, or `auto`.")
    auto: list[str] | None = Field(
        description="Models that `model=auto` asks in order: the first for which the image is in "
        "distribution classifies it, else the last. Null unless at least two are served."
    )
    store_is_temporary: bool = Field(
        description="Whether taught models are lost when the service is replaced or restarted, "
        "because PRISM_MODEL_STORE is a folder in a container or for temporary files."
    )
    models: list[ModelInfo]


def auto_detail(models: Sequence[ServedModel]) -> ModelDetail:
    """Return the description of the automatic choice among `models`."""
    states = [model.state for model in models]
    last = models[-1].name
    return ModelDetail(
        name=AUTO,
        title="Automatic",
        description=f"Asks {', '.join(model.name for model in models)} in this order. The first "
        f"model for which the image is in distribution classifies it, else {last}.",
        state=next((state for state in ("failed", "loading") if state in states), "ready"),
        loaded=all(model.classifier for model in models),
        error=next((f"{model.name}: {model.error}" for model in models if model.error), None),
    )


def model_detail(model: ServedModel) -> ModelDetail:
    """Return the schema of a model with its card, if its folder contains one."""
    card = artifact.read_card(model.artifact.folder) if model.artifact else None
    plan = model.classifier.plan if model.classifier else None
    preprocess = model.manifest.preprocess if model.state == "ready" and model.manifest else None
    info = model_info(model).model_dump()
    return ModelDetail(**info, card=card, preprocess=preprocess, plan=plan)


def model_info(model: ServedModel) -> ModelInfo:
    """Return the schema of a model; until it is ready only its name, state and error."""
    if model.state != "ready" or (manifest := model.manifest) is None:
        return ModelInfo(
            name=model.name, taught=model.is_registered, state=model.state, error=model.error
        )
    return ModelInfo(
        name=model.name,
        version=manifest.version,
        taught=model.is_registered,
        title=manifest.title,
        description=manifest.description,
        state=model.state,
        loaded=model.classifier is not None,
        runtime=model.classifier.runtime_name if model.classifier else None,
        precision=model.classifier.plan.precision if model.classifier else None,
        architecture=manifest.architecture,
        backbone=manifest.backbone,
        task=manifest.task,
        labels=list(manifest.labels),
        label_ids=list(manifest.label_ids) if manifest.label_ids else None,
        input=ModelInput(
            kind=manifest.preprocess.kind, shape=list(manifest.preprocess.input_shape)
        ),
        metrics=manifest.metrics,
        calibration=manifest.calibration,
        license=manifest.license,
    )
