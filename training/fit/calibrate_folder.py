"""Calibrates a model folder with held-out labeled images."""

from collections.abc import Iterator, Sequence
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
from calibration.fit_sigmoid import (
    MIN_IMAGES,
    LabelFit,
    calibrate_binary,
    calibrate_labels,
    fit_labels,
)
from calibration.sigmoid import BINARY, MULTI_LABEL, ProbabilityMap, Task, sigmoid
from evaluation.errors import LabelError
from evaluation.ground_truth import match_labels
from evaluation.label_sets import split_labels
from evaluation.sources.base import Source
from evaluation.types import Sample

BATCH_SIZE = 32
MAX_LISTED_LABELS = 5  # in an error message


def calibrate_folder(model: Artifact, source: Source) -> tuple[Artifact, list[str]]:
    """Fit a calibration to `source` and write it to the manifest.

    The images of a multi-label model have sets of labels, such as `red;green`.
    Return the updated model and the lines of a report.
    Raise CalibrationError if a label is not one of the model's, or no image can be read.
    """
    if model.manifest.task == MULTI_LABEL:
        return calibrate_label_sets(model, source)
    labels = model.manifest.labels
    if unknown := sorted(source.labels - set(labels)):
        names = ", ".join(map(repr, unknown[:MAX_LISTED_LABELS]))
        names += "…" if len(unknown) > MAX_LISTED_LABELS else ""
        raise CalibrationError(f"{source.name}: {names}: not among the {len(labels)} labels")
    held_out = compute_outputs(model, source)
    name, kind = Path(source.name).name, model.manifest.output
    if model.manifest.task == BINARY:
        calibration = calibrate_binary(held_out.outputs, held_out.truth, kind, name)
        predicted = ProbabilityMap(BINARY, kind, calibration)(held_out.outputs).argmax(1)
    else:
        calibration = calibrate({name: held_out}, kind)
        predicted = held_out.outputs.argmax(1)
    accuracy = float((predicted == held_out.truth).mean())
    manifest = model.manifest.model_copy(update={"calibration": calibration})
    unreadable = len(source) - calibration.pictures
    return artifact.write_manifest(model.folder, manifest), [
        *_report(calibration, manifest.output, accuracy, manifest.task),
        *([f"images that could not be read: {unreadable}"] if unreadable else []),
    ]


def calibrate_label_sets(model: Artifact, source: Source) -> tuple[Artifact, list[str]]:
    """Fit a calibration for each label of a multi-label model; see `calibrate_folder`."""
    manifest = model.manifest
    try:
        source = match_labels(source, manifest.labels, manifest.label_ids, several=True)
    except LabelError as error:
        raise CalibrationError(f"{source.name}: {error}") from error
    outputs, texts = _run(model, source)
    position = {label: index for index, label in reversed(list(enumerate(manifest.labels)))}
    truth = np.zeros((len(texts), len(manifest.labels)), np.bool_)
    for row, text in zip(truth, texts, strict=True):
        row[[position[label] for label in split_labels(text)]] = True
    fits = fit_labels(outputs, truth, manifest.output)
    calibration = calibrate_labels(fits, len(texts), Path(source.name).name)
    manifest = manifest.model_copy(update={"calibration": calibration})
    unreadable = len(source) - len(texts)
    return artifact.write_manifest(model.folder, manifest), [
        *_report_labels(manifest.labels, fits, len(texts)),
        *([f"images that could not be read: {unreadable}"] if unreadable else []),
    ]


def _report_labels(labels: Sequence[str], fits: Sequence[LabelFit], images: int) -> list[str]:
    fitted = [each for each in fits if each.f1 is not None and each.default_f1 is not None]
    lines = []
    if fitted:
        after, before = (
            np.mean([getattr(each, name) for each in fitted]) for name in ("f1", "default_f1")
        )
        thresholds = [each.threshold for each in fitted]
        lines.append(
            f"calibrated {len(fitted)} of {len(fits)} labels on {images:,} images: mean F1 "
            f"{after:.3f} (cross-validated), {before:.3f} before with the threshold 0.5; "
            f"thresholds from {min(thresholds):.2f} to {max(thresholds):.2f}"
        )
    rare = [label for label, each in zip(labels, fits, strict=True) if each.f1 is None]
    if rare:
        names = ", ".join(rare[:MAX_LISTED_LABELS]) + ("…" if len(rare) > MAX_LISTED_LABELS else "")
        lines.append(
            f"{len(rare)} labels keep the threshold 0.5, because fewer than {MIN_IMAGES} images "
            f"have them or do not have them: {names}"
        )
    return lines


def compute_outputs(model: Artifact, source: Source) -> HeldOutOutputs:
    """Return the outputs and the true classes of the readable images."""
    # A label that occurs twice stands for the first of its classes.
    classes = {label: index for index, label in reversed(list(enumerate(model.manifest.labels)))}
    outputs, labels = _run(model, source)
    return HeldOutOutputs(outputs, np.array([classes[label] for label in labels]))


def _run(model: Artifact, source: Source) -> tuple[Floats, list[str]]:
    """Return the outputs and the labels of the readable images."""
    decoder = Decoder(model.manifest.preprocess, ImageReader())
    runtime = runtimes.load(model)
    outputs: list[Floats] = []
    labels: list[str] = []
    for rows, names in _batches(decoder, source):
        outputs.append(runtime(rows))
        labels += names
    if not labels:
        raise CalibrationError(f"{source.name}: no image can be read")
    return np.concatenate(outputs), labels


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


def _report(calibration: Calibration, kind: OutputKind, accuracy: float, task: Task) -> list[str]:
    sizes = ", ".join(f"{calibration.mean_set_size[str(c)]:.2f} at {c:.0%}" for c in COVERAGES)
    parameters = f"temperature {calibration.temperature:g}"
    if calibration.scaling is not None:
        (scaling,) = calibration.scaling
        logit = np.array([-scaling.intercept / scaling.slope])
        parameters = f"the second label is predicted from {sigmoid(logit)[0]:.3f}, before 0.5"
    lines = [
        f"calibrated on {calibration.pictures:,} images (accuracy {accuracy:.1%}): {parameters}; "
        f"labels per prediction set: {sizes}"
    ]
    lines += [
        f"some {coverage:.0%} prediction sets contain all labels: there are too few images, or "
        "the model assigns a probability of zero to some true labels"
        for coverage in COVERAGES
        if not all(one.min_probability for one in calibration.sets if one.coverage == coverage)
    ]
    if task == BINARY:
        lines.append("no out-of-distribution detection: it requires two or more logits")
    elif kind == "probabilities":
        lines.append("no out-of-distribution detection: it requires logits, not probabilities")
    elif calibration.max_ood_score is None:
        lines.append("no out-of-distribution detection: it requires the logits of 99 images")
    else:
        lines.append(
            "images with an out-of-distribution score above "
            f"{calibration.max_ood_score:.2f} are marked as out of distribution"
        )
    return lines
