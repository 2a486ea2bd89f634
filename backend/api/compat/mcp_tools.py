"""Tools of the MCP endpoint: `classify_image` and `list_models`."""

from typing import Annotated, Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backend.api.compat.calls import Call
from backend.api.compat.data_urls import decode_data_url
from backend.api.deps import DEFAULT_COVERAGE
from backend.api.errors import InvalidParameterError, MalformedRequestError
from backend.api.schemas.classify import ClassScore, ModelRef, make_classification
from backend.api.schemas.models import model_info
from backend.catalog import Catalog
from backend.served_model import State
from calibration.sigmoid import Task

Arguments = TypeVar("Arguments", bound=BaseModel)

# Key of a request's state: the image in base64, which `mcp` has taken out of the arguments.
IMAGE: Final = "mcp_image"

_MAX_LISTED_LABELS: Final = 100  # longer lists would fill the context of an assistant


class ClassifyArguments(BaseModel):
    """Arguments of `classify_image`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    image: str = Field(
        min_length=1,
        description="Content of the image file, in base64. JPEG, PNG, WebP, GIF, BMP, HEIC, AVIF, "
        "TIFF, JPEG 2000, ICO or PPM. Paths and URLs are not accepted.",
    )
    model: Annotated[str, Field(max_length=128)] | None = Field(
        None, description="Name of a model from list_models; if omitted, the default model."
    )
    top_k: int = Field(5, ge=1, le=10_000, description="Number of most probable labels in `top`.")


class ListArguments(BaseModel):
    """Arguments of `list_models`: none."""

    model_config = ConfigDict(extra="forbid")


class ClassifyResult(BaseModel):
    """Result of `classify_image`."""

    model: ModelRef
    prediction: str = Field(description="The most probable label.")
    confidence: float = Field(description="Calibrated probability of the prediction, 0 to 1.")
    top: list[ClassScore] = Field(description="The most probable labels.")
    labels: list[ClassScore] | None = Field(
        description="Labels that the image has, maybe none, if the model is multi-label: any "
        "number of its labels may be right, and `prediction` is only the most probable one. Else "
        "null."
    )
    prediction_set: list[str] | None = Field(
        description="Labels that include the right one with the probability `coverage`, or null."
    )
    coverage: float | None
    in_distribution: bool | None = Field(
        description="False if the image shows none of the model's classes. Null if not known."
    )


class ListedModel(BaseModel):
    """A served model."""

    name: str
    version: str | None
    title: str
    description: str
    task: Task
    state: State
    label_count: int
    labels: list[str] = Field(
        description=f"The labels; of more than {_MAX_LISTED_LABELS}, the first ones."
    )


class ListResult(BaseModel):
    """Result of `list_models`."""

    default: str = Field(description="Model for calls that name none; a name, or `auto`.")
    auto: list[str] = Field(
        description="Models that `auto` asks in order: the first for which the image is in "
        "distribution classifies it, else the last."
    )
    models: list[ListedModel]


async def classify_image(request: Request, arguments: dict[str, Any]) -> dict[str, Any]:
    """Classify an image as POST /classify does, without storing it; return a ClassifyResult."""
    parsed = _parse(ClassifyArguments, arguments)
    call = await Call.open(request, parsed.model)
    # Popped, so that the text is not kept while the image is classified.
    content = await call.parse(_decode, request.scope["state"].pop(IMAGE, parsed.image))
    (answer,) = await call.classify_images([content], store=False)
    fields = make_classification(
        answer.result, answer.manifest, None, parsed.top_k, False, DEFAULT_COVERAGE
    )
    return {name: fields.get(name) for name in ClassifyResult.model_fields}


async def list_models(request: Request, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a ListResult."""
    _parse(ListArguments, arguments)
    catalog: Catalog = request.state.catalog
    infos = [model_info(model) for model in catalog.models()]
    models = [
        ListedModel(
            name=info.name,
            version=info.version,
            title=info.title,
            description=info.description,
            task=info.task,
            state=info.state,
            label_count=len(info.labels),
            labels=info.labels[:_MAX_LISTED_LABELS],
        )
        for info in infos
    ]
    found = ListResult(default=catalog.default, auto=list(catalog.auto), models=models)
    return found.model_dump(mode="json")


def _parse(kind: type[Arguments], arguments: dict[str, Any]) -> Arguments:
    try:
        return kind.model_validate(arguments)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        location = ".".join(str(part) for part in first["loc"])
        raise InvalidParameterError(f"{location[:100]}: {first['msg']}.") from error


def _decode(image: str) -> bytes:
    try:
        return decode_data_url(image)
    except ValueError as error:
        raise MalformedRequestError(
            "image: must be the content of an image file in base64, not a path or a URL."
        ) from error
