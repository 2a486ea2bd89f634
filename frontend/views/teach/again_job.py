"""Teach a new version from checked answers, and compare versions. Imports no Streamlit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from client import Client, ClientError, ItemError, ModelVersion
from client.batches import split_batches
from frontend.datasets import checked_images
from frontend.datasets.checked_images import CheckedImage, CheckedImages
from frontend.datasets.training_set import TrainingImage
from frontend.service import errors, teaching
from frontend.service.teaching import NONE_OF_THESE
from frontend.state.jobs import Job
from frontend.ui.alerts import Problem
from frontend.ui.formatting import count

MIN_OTHERS: Final = 5  # images for a new class None of these
BATCH_IMAGES: Final = 16
BATCH_BYTES: Final = 16_000_000
NO_IMAGES: Final = Problem(
    "The history has no checked images of this model.",
    "Confirm or correct answers on Classify or on History. Images are stored only if the backend "
    "has PRISM_HISTORY_IMAGES=true.",
)


@dataclass(frozen=True, slots=True)
class VersionComparison:
    """Two versions on the same held-out images: how many each version answers rightly.

    `wrong` is the number of images whose answer was wrong when a person checked it.
    """

    both: int
    only_old: int
    only_new: int
    neither: int
    wrong: int

    @property
    def images(self) -> int:
        """The number of images."""
        return self.both + self.only_old + self.only_new + self.neither


@dataclass
class AgainRun:
    """The versions `old` and `new` of the model `name`, or why there is no new one.

    `trained` and `corrected` count the checked images that the new version was taught with, and
    those of them whose answer was wrong.
    """

    name: str
    old: int
    new: int | None = None
    is_taught: bool = False  # by this run
    trained: int = 0
    corrected: int = 0
    added: int = 0  # images of the page
    left_out: int = 0
    comparison: VersionComparison | None = None
    problem: Problem | None = None
    is_canceled: bool = False


def teach_again(
    client: Client, name: str, old: ModelVersion, images: Sequence[TrainingImage], job: Job
) -> AgainRun:
    """Teach a version from the training features of `old`, checked images and `images`.

    It is stored, but not activated, and compared with `old` on held-out checked images.
    """
    run = AgainRun(name, old.version)
    try:
        checked = _collect(client, run, old.labels, job)
        usable = _choose(checked.training, old.labels)
        run.trained, run.corrected = len(usable), sum(image.is_wrong for image in usable)
        added = [image for image in images if not checked_images.is_held_out(image.file.content)]
        known = {image.file.digest for image in usable}
        added = [image for image in added if image.file.digest not in known]
        run.added = len(added)
        if not usable and not added:
            run.problem = NO_IMAGES
            return run
        files = [(image.label, image.file) for image in added]
        files += [(image.label, image.file) for image in usable]
        model = teaching.teach(client, files, {}, name, job, version=old.version)
        reason = f"Taught again with {count(len(usable), 'checked answer', 'checked answers')}"
        if added:
            reason += f" and {count(len(added), 'new image', 'new images')}"
        stored = teaching.upload(client, name, model, reason, activate=False)
        run.new, run.is_taught = stored.version, True
        _compare(client, run, checked.held_out, job)
    except (teaching.TeachingError, ClientError) as error:
        _keep_error(run, error)
    return run


def compare_versions(client: Client, name: str, old: ModelVersion, new: int, job: Job) -> AgainRun:
    """Compare two stored versions on held-out checked images."""
    run = AgainRun(name, old.version, new)
    try:
        _compare(client, run, _collect(client, run, old.labels, job).held_out, job)
    except (teaching.TeachingError, ClientError) as error:
        _keep_error(run, error)
    return run


def _collect(client: Client, run: AgainRun, labels: Sequence[str], job: Job) -> CheckedImages:
    job.note = "Loading checked images"
    checked = checked_images.collect(client, run.name, labels, job.is_cancelled)
    _check_stop(job)
    run.left_out = checked.left_out
    return checked


def _choose(images: Sequence[CheckedImage], labels: Sequence[str]) -> list[CheckedImage]:
    """Return the images to train: the class None of these is added only for several images."""
    others = sum(image.label == NONE_OF_THESE for image in images)
    is_added = NONE_OF_THESE in labels or others >= MIN_OTHERS
    return [image for image in images if is_added or image.label != NONE_OF_THESE]


def _compare(client: Client, run: AgainRun, held_out: Sequence[CheckedImage], job: Job) -> None:
    """Classify the held-out images with both versions."""
    job.note = "Comparing the versions"
    if not held_out:
        return
    old, new = (
        _classify(client, f"{run.name}@{version}", held_out, job) for version in (run.old, run.new)
    )
    pairs = [
        (one, two, image.is_wrong)
        for one, two, image in zip(old, new, held_out, strict=True)
        if one is not None and two is not None
    ]
    run.comparison = VersionComparison(
        both=sum(one and two for one, two, _ in pairs),
        only_old=sum(one and not two for one, two, _ in pairs),
        only_new=sum(two and not one for one, two, _ in pairs),
        neither=sum(not one and not two for one, two, _ in pairs),
        wrong=sum(is_wrong for _, _, is_wrong in pairs),
    )


def _classify(
    client: Client, model: str, images: Sequence[CheckedImage], job: Job
) -> list[bool | None]:
    """Return for each image whether the answer is right, None without an answer."""
    right: list[bool | None] = []
    batches = split_batches(
        images, max_items=BATCH_IMAGES, max_bytes=BATCH_BYTES, size=lambda image: image.file.size
    )
    for batch in batches:
        _check_stop(job)
        files = [(image.file.name, image.file.content) for image in batch]
        results = client.classify_batch(files, model=model, store=False)
        for image, result in zip(batch, results, strict=True):
            if isinstance(result, ItemError):
                right.append(None)
            else:
                right.append(
                    checked_images.is_right(image.label, result.prediction, result.in_distribution)
                )
    return right


def _check_stop(job: Job) -> None:
    if job.is_cancelled():
        raise teaching.TeachingCanceledError


def _keep_error(run: AgainRun, error: Exception) -> None:
    if isinstance(error, teaching.TeachingCanceledError):
        run.is_canceled = True
    elif isinstance(error, ClientError):
        run.problem = errors.describe_model_error(error)
    else:
        run.problem = Problem(str(error), "")
