"""Response model of /embed, and the function that fills it."""

from pydantic import BaseModel, ConfigDict, Field

from backend.api.schemas.classify import ModelRef
from backend.inference.models.artifact import Backbone
from backend.inference.types import Floats
from backend.served_model import ServedModel


class Embedding(BaseModel):
    """Features of one image."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "filename": "ant.jpg",
                "embedding": [0.0, 0.6, 0.8],
                "model": {"name": "photos", "version": "1"},
                "backbone": {"name": "photos", "sha256": "b526b816e4477f69" * 4},
            }
        }
    )

    filename: str | None
    embedding: list[float] = Field(
        description="Input of the network's last layer, with an L2 norm of 1; all zeros if the "
        "network found nothing."
    )
    model: ModelRef
    backbone: Backbone = Field(description="The network that the features come from.")


def make_embedding(
    model: ServedModel, backbone: Backbone, features: Floats, filename: str | None
) -> dict[str, object]:
    """Return the fields of an `Embedding`, with NumPy floats, for orjson; not validated."""
    version = model.manifest.version if model.manifest else ""
    return {
        "filename": filename,
        "embedding": features,
        "model": {"name": model.name, "version": version},
        "backbone": backbone.model_dump(),
    }
