"""Calibrate a model folder with labelled pictures that the model never learnt from."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from backend.inference import runtimes
from backend.inference.decoder import Decoder
from backend.inference.errors import ImageError
from backend.inference.images.image_reader import Reader
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.inference.types import Floats
from calibration.apply import COVERAGES, Calibration, OutputKind
from calibration.fit import CalibrationError, Held, calibrate
from evaluation.sources.source import Source
from evaluation.types import Sample

BATCH = 32
SHOWN = 5  # labels that are named


def calibrate_folder(model: Artifact, source: Source) -> tuple[Artifact, list[str]]:
    """Fit a calibration to `source`, put it into the manifest; returns the lines of a report.

    Raises CalibrationError where a label is not one of the model's, or no picture can be read.
    """
    labels = model.manifest.labels
    if unknown := sorted(source.labels - set(labels)):
        named = ", ".join(map(repr, unknown[:SHOWN])) + ("…" if len(unknown) > SHOWN else "")
        raise CalibrationError(f"{source.name}: {named}: not among the {len(labels)} labels")
    held = _answers(model, source)
    fitted = calibrate({Path(source.name).name: held}, model.manifest.output)
    correct = float((held.outputs.argmax(1) == held.truth).mean())
    made = artifact.write_manifest(
        model.folder, model.manifest.model_copy(update={"calibration": fitted})
    )
    lost = len(source) - fitted.pictures
    return made, [
        *_told(fitted, model.manifest.output, correct),
        *([f"{lost} could not be read"] if lost else []),
    ]


def _answers(model: Artifact, source: Source) -> Held:
    """What the model says of the pictures that can be read."""
    decoder = Decoder(model.manifest.preprocess, Reader())
    runtime = runtimes.load(model)
    # A label that stands twice among the model's is its first class.
    classes = {label: at for at, label in reversed(list(enumerate(model.manifest.labels)))}
    outputs, truth = [], []
    for rows, found in _batches(decoder, source):
        outputs.append(runtime(rows))
        truth += [classes[label] for label in found]
    if not truth:
        raise CalibrationError(f"{source.name}: there is no picture that can be read")
    return Held(np.concatenate(outputs), np.array(truth))


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
        if len(rows) == BATCH:
            yield np.concatenate(rows), labels
            rows, labels = [], []
    if rows:
        yield np.concatenate(rows), labels


def _told(fitted: Calibration, kind: OutputKind, correct: float) -> list[str]:
    sizes = ", ".join(f"{fitted.mean_set_size[str(c)]:.2f} for {c:.0%}" for c in COVERAGES)
    lines = [
        f"calibrated with {fitted.pictures:,} pictures ({correct:.1%} right): temperature "
        f"{fitted.temperature:g}; labels in a prediction set: {sizes}"
    ]
    lines += [
        f"some sets of {coverage:.0%} hold all labels: there are too few pictures, or the model "
        "gives some true labels no probability at all"
        for coverage in COVERAGES
        if not all(one.min_probability for one in fitted.sets if one.coverage == coverage)
    ]
    if kind == "probabilities":
        lines.append("it gives probabilities: they do not tell what is not of its world")
    elif fitted.max_ood_score is None:
        lines.append(
            "what is not of its world cannot be told: that takes the logits of 99 pictures"
        )
    else:
        lines.append(
            f"pictures that score more than {fitted.max_ood_score:.2f} are strangers to it"
        )
    return lines
