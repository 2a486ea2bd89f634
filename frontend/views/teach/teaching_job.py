"""Teach a model in a background job. Imports no Streamlit."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from client import Client, ClientError, ModelVersion
from frontend.datasets.training_set import TrainingImage, TrainingSet
from frontend.service import errors, teaching
from frontend.state.jobs import Job
from frontend.ui.alerts import Problem

if TYPE_CHECKING:
    from teach.types import TaughtModel

BUSY_MESSAGE: Final = "Too many jobs are running. Wait until some have finished, then try again."


@dataclass
class TeachingRun:
    """The model `name` taught on `images`, or why there is none.

    `images` are those of the report's indices. `served` is the version that a user uploaded.
    """

    name: str
    images: tuple[TrainingImage, ...]
    model: "TaughtModel | None" = None
    problem: Problem | None = None
    is_canceled: bool = False
    seconds: float = 0.0
    served: ModelVersion | None = None


def teach_model(client: Client, images: TrainingSet, name: str, job: Job) -> TeachingRun:
    """Embed the images through the backend and teach a model."""
    run = TeachingRun(name, tuple(images.images()))
    start = time.monotonic()
    try:
        files = [(image.label, image.file) for image in run.images]
        run.model = teaching.teach(client, files, images.embeddings, name, job)
    except teaching.TeachingCanceledError:
        run.is_canceled = True
    except teaching.TeachingError as error:
        run.problem = Problem(str(error), "")
    except ClientError as error:
        run.problem = errors.describe_model_error(error)
    run.seconds = time.monotonic() - start
    return run


def progress_text(job: Job) -> str:
    """Return what the job is doing."""
    return f"{job.note or 'Starting'}…"
