"""Calibrates a model folder with held-out labeled images."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from backend.inference import runtimes
from backend.inference.decoder import Decoder
from backend.inference.errors import ImageError
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.inference.types import Floats
from calibration.apply import COVERAGES, Calibration, OutputKind
from calibration.fit import CalibrationError, HeldOutOutputs, calibrate
from evaluation.sources.base import Source
from evaluation.types import Sample

BATCH_SIZE = 32
MAX_LISTED_LABELS = 5  # in an error message


def calibrate_folder(model: Artifact, source: Source) -> tuple[Artifact, list[str]]:
    """Fit a calibration to `source` and write it to the manifest.

    Return the updated model and the lines of a report.
    Raise CalibrationError if a label is not one of the model's, or no image can be read.
    """
    labels = model.manifest.labels
    if unknown := sorted(source.labels - set(labels)):
        names = ", ".join(map(repr, unknown[:MAX_LISTED_LABELS]))
        names += "…" if len(unknown) > MAX_LISTED_LABELS else ""
        raise CalibrationError(f"{source.name}: {names}: not among the {len(labels)} labels")
    held_out = compute_outputs(model, source)
    calibration = calibrate({Path(source.name).name: held_out}, model.manifest.output)
    accuracy = float((held_out.outputs.argmax(1) == held_out.truth).mean())
    manifest = model.manifest.model_copy(update={"calibration": calibration})
    unreadable = len(source) - calibration.pictures
    return artifact.write_manifest(model.folder, manifest), [
        *_report(calibration, manifest.output, accuracy),
        *([f"images that could not be read: {unreadable}"] if unreadable else []),
    ]


def compute_outputs(model: Artifact, source: Source) -> HeldOutOutputs:
    """Return the outputs and the true classes of the readable images."""
    decoder = Decoder(model.manifest.preprocess, ImageReader())
    runtime = runtimes.load(model)
    # A label that occurs twice stands for the first of its classes.
    classes = {label: index for index, label in reversed(list(enumerate(model.manifest.labels)))}
    outputs, truth = [], []
    for rows, labels in _batches(decoder, source):
        outputs.append(runtime(rows))
        truth += [classes[label] for label in labels]
    if not truth:
        raise CalibrationError(f"{source.name}: no image can be read")
    return HeldOutOutputs(np.concatenate(outputs), np.array(truth))


def _batches(decoder: Decoder, source: Source) -> Iterator[tuple[Floats, list[str]]]:
    rows: list[Floats] = []
    labels: list[str] = []
    for sample in tqdm(source.samples(), total=len(source), desc="calibrating", disable=None):
        if not isinstance(sample, Sample) or sample.label is None:
            continue
        try:
            rows.append(decoder.decode(sample.content).rows)
        except ImageError:
            continue
        labels.append(sample.label)
        if len(rows) == BATCH_SIZE:
            yield np.concatenate(rows), labels
            rows, labels = [], []
    if rows:
        yield np.concatenate(rows), labels


def _report(calibration: Calibration, kind: OutputKind, accuracy: float) -> list[str]:
    sizes = ", ".join(f"{calibration.mean_set_size[str(c)]:.2f} at {c:.0%}" for c in COVERAGES)
    lines = [
        f"calibrated on {calibration.pictures:,} images (accuracy {accuracy:.1%}): temperature "
        f"{calibration.temperature:g}; labels per prediction set: {sizes}"
    ]
    lines += [
        f"some {coverage:.0%} prediction sets contain all labels: there are too few images, or "
        "the model assigns a probability of zero to some true labels"
        for coverage in COVERAGES
        if not all(one.min_probability for one in calibration.sets if one.coverage == coverage)
    ]
    if kind == "probabilities":
        lines.append("no out-of-distribution detection: it requires logits, not probabilities")
    elif calibration.max_ood_score is None:
        lines.append("no out-of-distribution detection: it requires the logits of 99 images")
    else:
        lines.append(
            "images with an out-of-distribution score above "
            f"{calibration.max_ood_score:.2f} are marked as out of distribution"
        )
    return lines
