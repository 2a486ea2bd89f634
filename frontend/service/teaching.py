"""Teach a model on features that the backend computes. Imports no Streamlit.

The interface of the pages to the package `teach`, which is imported only when a model is taught:
scikit-learn takes a second to import.
"""

import io
import json
import zipfile
from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from client import Client, ModelInfo, Models, ModelVersion
from frontend.service.errors import describe_model_state
from frontend.service.model_choice import AUTO
from frontend.service.predictions import ImageFile
from frontend.state.jobs import Job
from frontend.ui.alerts import Problem
from teach.limits import NAME_PATTERN as NAME_PATTERN

if TYPE_CHECKING:
    from teach.served_embedding import ServedEmbedding
    from teach.training_features import TrainingFeatures
    from teach.types import TaughtModel

NONE_OF_THESE: Final = "None of these"  # calibration.apply.NONE_OF_THESE
BACKBONE: Final = "photos"
STEPS: Final = 1000  # of the progress

Cache = MutableMapping[str, Any]  # features by the SHA-256 of the image file


class TeachingError(Exception):
    """No model can be taught; the message is for the user."""


class TeachingCanceledError(TeachingError):
    """The user stopped the job."""


def teach(
    client: Client,
    images: Sequence[tuple[str, ImageFile]],
    cache: Cache,
    name: str,
    job: Job,
    version: int | None = None,
) -> "TaughtModel":
    """Return a model that is taught on (label, file) pairs; the report refers to their order.

    With a `version` of the model, its training images are used too, through their features. Raise
    TeachingError, TeachingCanceledError or ClientError.
    """
    from teach.errors import TeachCancelled, TeachError
    from teach.served_embedding import ServedEmbedding
    from teach.train import train
    from teach.types import Example

    def report(step: str, share: float) -> None:
        job.note = step
        job.advance(round(STEPS * share), STEPS)

    report("Connecting", 0)
    try:
        embed = ServedEmbedding(client, BACKBONE, job.stop)
        return train(
            [Example(label, file.content, file.name) for label, file in images],
            embed,
            embed.backbone,
            name=name,
            progress=report,
            is_cancelled=job.is_cancelled,
            cache=cache,
            predecessor=None if version is None else _predecessor(client, name, version, embed),
        )
    except TeachCancelled as error:
        raise TeachingCanceledError from error
    except TeachError as error:
        raise TeachingError(str(error)) from error


def _predecessor(
    client: Client, name: str, version: int, embed: "ServedEmbedding"
) -> "TrainingFeatures":
    """Return the training features of a stored version; raise TeachError or ClientError."""
    from teach import training_features

    with zipfile.ZipFile(io.BytesIO(client.model_folder(f"{name}@{version}"))) as folder:
        manifest = json.loads(folder.read("manifest.json"))
        return training_features.read(manifest, folder.read("head.safetensors"), embed.backbone)


def taught_models(models: Models) -> list[ModelInfo]:
    """Return the served models that were taught."""
    return [model for model in models.models if model.taught]


def is_reserved(name: str, models: Models | None) -> bool:
    """Return whether a model that was not taught has this name."""
    served = models.get(name) if models else None
    return name == AUTO or (served is not None and not served.taught)


def missing_backbone(models: Models) -> Problem | None:
    """Return why no model can be taught, or None."""
    backbone = models.get(BACKBONE)
    if backbone is None:
        return Problem(
            f"This backend does not serve the model {BACKBONE}, on which models are taught.",
            f"Add {BACKBONE} to PRISM_MODELS, and restart the backend.",
        )
    return describe_model_state(backbone)


def upload(
    client: Client, name: str, model: "TaughtModel", reason: str | None, *, activate: bool = True
) -> ModelVersion:
    """Upload a version, which is served from then on if it is activated; raise ClientError."""
    return client.put_model(
        name, model.manifest, model.head, card=model.card, reason=reason, activate=activate
    )


def export(client: Client, name: str) -> Iterator[bytes]:
    """Yield the zip with the ONNX graph of a taught model; raise ClientError.

    The graph returns the calibrated probabilities of the service.
    """
    yield client.export_model(name, softmax=True, temperature=True)


def accuracy(version: ModelVersion) -> float | None:
    """Return the accuracy that was measured when a version was taught, in [0, 1], or None."""
    return version.metrics.get("test_accuracy")


def zip_folder(name: str, model: "TaughtModel") -> bytes:
    """Return the model folder as a zip."""
    from teach.model_folder import pack

    return pack(model, name)
