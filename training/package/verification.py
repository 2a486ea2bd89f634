"""Checks of a model while it is packaged: labeled images (--verify) and single ones (--expect).

A wrong preprocessing lowers the accuracy of a model and raises no error. Therefore --verify also
tries other plausible ones, and tells which is clearly better on the same images.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import binomtest

from backend.inference import runtimes
from backend.inference.decoder import Decoder
from backend.inference.errors import ImageError
from backend.inference.images.image_reader import ImageReader
from backend.inference.models.artifact import Artifact
from backend.inference.preprocessing.model_input import Preprocess, preprocess
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.runtimes import Runtime
from calibration.sigmoid import MULTI_LABEL, ProbabilityMap, label_thresholds
from evaluation.sources.base import Source, evenly_spaced
from evaluation.types import Sample
from training.package.imported import ASSUMED
from training.package.labels import shorten
from training.package.model_spec import PackageError
from training.package.provenance import describe_spec

MAX_IMAGES: Final = 200
_BATCH_SIZE: Final = 16
_MIN_GAIN: Final = 0.05  # of top-1, from which another preprocessing is suggested
_MAX_CHANCE: Final = 0.001  # probability that the gain is one by chance
_MIN_AGREEMENT: Final = 0.7  # share of a label's images that get one other label
_MIN_PER_LABEL: Final = 3  # images from which this is said
_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_RAW: Final = 1 / 255  # std of values of 0 to 255
_NORMALIZATIONS: Final = (
    _IMAGENET,
    ((0.0,) * 3, (1.0,) * 3),
    ((0.5,) * 3, (0.5,) * 3),
    ((0.0,) * 3, (_RAW,) * 3),
    (_IMAGENET[0], (_RAW,) * 3),
)

Predictions = NDArray[np.int64]


def expect(model: Artifact, expectations: Sequence[str]) -> list[str]:
    """Classify each image of `expectations` ("IMAGE=LABEL"); return lines for the report.

    An image of a multi-label model must have the label, maybe among others. Raise PackageError for
    another prediction, an unknown label and an unreadable image.
    """
    if not expectations:
        return []
    manifest = model.manifest
    lines, labels = [], manifest.labels
    thresholds = label_thresholds(manifest.task, len(labels), manifest.calibration)
    decoder = Decoder(manifest.preprocess, ImageReader())
    runtime, to_probabilities = runtimes.load(model, "onnx"), _probabilities(model)
    for text in expectations:
        name, separator, label = text.rpartition("=")
        if not separator or not name:
            raise PackageError(f"--expect {text}: pass IMAGE=LABEL")
        if label not in labels:
            raise PackageError(f"--expect {text}: {label!r} is not one of {shorten(labels)}")
        try:
            rows = decoder.decode(Path(name).read_bytes()).rows
        except (OSError, ImageError) as error:
            raise PackageError(f"--expect {text}: the image cannot be read") from error
        probabilities = to_probabilities(runtime(rows))[0]
        predicted = labels[int(probabilities.argmax())]
        index = labels.index(label)
        share = float(probabilities[index])
        if thresholds is not None and share < thresholds[index]:
            raise PackageError(
                f"--expect {text}: {label!r} has a probability of {share:.1%}, less than its "
                f"threshold of {thresholds[index]:.1%}; the most probable label is {predicted!r} "
                f"({probabilities.max():.1%}). Nothing was packaged"
            )
        if thresholds is None and predicted != label:
            raise PackageError(
                f"--expect {text}: the model predicts {predicted!r} ({probabilities.max():.1%}; "
                f"{label!r} has {share:.1%}). Nothing was packaged. If the preprocessing may be "
                "wrong, pass labeled images with --verify"
            )
        lines.append(f"{name}: {label!r} as expected ({share:.1%})")
    return lines


def verify(model: Artifact, source: Source) -> list[str]:
    """Return the top-1 accuracy on labeled images, and warnings about what may be wrong.

    At most MAX_IMAGES are used. Raise PackageError if labels are not the model's, or if the model
    is multi-label.
    """
    manifest = model.manifest
    if manifest.task == MULTI_LABEL:
        raise PackageError("--verify compares one label per image; evaluate a multi-label model")
    _require_labels(model, source)
    spec = manifest.preprocess
    images, truth = _read(source, manifest.labels, 2 * max(spec.input_shape))
    runtime, to_probabilities = runtimes.load(model, "onnx"), _probabilities(model)
    predictions = _predict(runtime, to_probabilities, images, spec)
    right = predictions == truth
    lines = [
        f"verified on {len(images)} images of {source.name}: top-1 {right.mean():.1%} "
        f"({right.sum()} of {len(images)})"
    ]
    if warning := _find_permutation(predictions, truth, manifest.labels):
        lines.append(warning)
    if isinstance(spec, PhotoPreprocess) and spec.channels == len(_IMAGENET[0]):
        best, better = _search(runtime, to_probabilities, images, truth, spec, right)
        if best != spec:
            lines.append(
                f"warning: another preprocessing is right for {better.mean():.1%} of these images: "
                f"{describe_spec(best)}. If it is that of the training, package again with "
                f"--preprocess '{to_json(best)}'"
            )
    return lines


def to_json(spec: Preprocess) -> str:
    """Return a spec as --preprocess takes it."""
    fields = spec.model_dump(mode="json", exclude_defaults=True)
    return json.dumps({"kind": spec.kind} | fields)


def _require_labels(model: Artifact, source: Source) -> None:
    labels = model.manifest.labels
    unknown = source.labels - set(labels)
    if not unknown:
        return
    found = tuple(sorted(source.labels))
    message = f"--verify: the classes of {source.name} are {shorten(found)}, but the labels "
    message += f"are {shorten(labels)}"
    is_assumed = model.manifest.provenance.get("labels", "").startswith(ASSUMED)
    if is_assumed and len(found) == len(labels):
        message += (
            "; pass --labels with the names in the order of the outputs. Training programs that "
            "read class folders sort them by name"
        )
    raise PackageError(message)


def _read(
    source: Source, labels: tuple[str, ...], side: int
) -> tuple[list[Image.Image], Predictions]:
    """Return the readable ones of at most MAX_IMAGES images, and the numbers of their labels.

    Large images are reduced, because all are held in memory, to no side shorter than `side`.
    """
    reader, images, truth = ImageReader(), [], []
    for sample in source.samples(evenly_spaced(len(source), MAX_IMAGES)):
        if not isinstance(sample, Sample) or sample.label is None:
            continue
        try:
            with reader.read(sample.content, side) as image:
                images.append(image.reduce(max(1, min(image.size) // side)))
        except ImageError:
            continue
        truth.append(labels.index(sample.label))
    if not images:
        raise PackageError(f"--verify: {source.name} contains no labeled image that can be read")
    return images, np.array(truth)


def _probabilities(model: Artifact) -> ProbabilityMap:
    manifest = model.manifest
    return ProbabilityMap(manifest.task, manifest.output, manifest.calibration)


def _predict(
    runtime: Runtime,
    to_probabilities: ProbabilityMap,
    images: Sequence[Image.Image],
    spec: Preprocess,
) -> Predictions:
    found: list[Any] = []
    for start in range(0, len(images), _BATCH_SIZE):
        batch = [preprocess(image, spec) for image in images[start : start + _BATCH_SIZE]]
        found.append(to_probabilities(runtime(np.stack(batch))).argmax(axis=1))
    return np.concatenate(found)


def _search(
    runtime: Runtime,
    to_probabilities: ProbabilityMap,
    images: Sequence[Image.Image],
    truth: Predictions,
    spec: PhotoPreprocess,
    right: NDArray[np.bool_],
) -> tuple[PhotoPreprocess, NDArray[np.bool_]]:
    """Return the best preprocessing and for which images it is right.

    First the values are varied, then the geometry with the best of these. A spec must be better
    than the best one so far by more than chance explains.
    """
    best = spec
    for vary in (_vary_values, _vary_geometry):
        base = best
        for candidate in vary(base):
            outcome = _predict(runtime, to_probabilities, images, candidate) == truth
            if outcome.sum() > right.sum() and _is_clearly_better(outcome, right):
                best, right = candidate, outcome
    return best, right


def _vary_values(spec: PhotoPreprocess) -> Iterator[PhotoPreprocess]:
    normalizations = [(spec.mean, spec.std), *_NORMALIZATIONS]
    for (mean, std), color in product(normalizations, ("RGB", "BGR")):
        is_reversed = color == "BGR" and (mean, std) != (spec.mean, spec.std)
        order = -1 if is_reversed or color != spec.color else 1
        update = {"mean": mean[::order], "std": std[::order], "color": color}
        yield spec.model_copy(update=update)


def _vary_geometry(spec: PhotoPreprocess) -> Iterator[PhotoPreprocess]:
    side = min(spec.crop)
    for resize, interpolation in product(
        (spec.resize, spec.crop, side, round(side * 256 / 224)), ("bilinear", "bicubic")
    ):
        update = {"resize": resize, "interpolation": interpolation}
        if resize != spec.resize and spec.crop_rounding == "none":
            update["crop_rounding"] = "nearest"
        yield spec.model_copy(update=update)


def _is_clearly_better(new: NDArray[np.bool_], old: NDArray[np.bool_]) -> bool:
    """Return whether `new` is right more often than chance explains (McNemar's exact test)."""
    gained, lost = int((new & ~old).sum()), int((old & ~new).sum())
    if (gained - lost) / len(new) < _MIN_GAIN:
        return False
    test = binomtest(gained, gained + lost, 0.5, alternative="greater")
    return bool(test.pvalue < _MAX_CHANCE)


def _find_permutation(
    predictions: Predictions, truth: Predictions, labels: tuple[str, ...]
) -> str | None:
    """Return a warning if each label's images consistently get another label: a wrong order."""
    found: dict[int, int] = {}
    for index in set(truth.tolist()):
        rows = predictions[truth == index].tolist()
        ((predicted, count),) = Counter(rows).most_common(1)
        if len(rows) < _MIN_PER_LABEL or count < _MIN_AGREEMENT * len(rows):
            return None
        found[index] = predicted
    wrong = [(index, other) for index, other in found.items() if index != other]
    if len(set(found.values())) < len(found) or not wrong:
        return None
    shown = ", ".join(f"{labels[index]!r} as {labels[other]!r}" for index, other in wrong[:3])
    return (
        f"warning: the labels seem to be in another order than the outputs: images of {shown} are "
        "classified consistently. Pass --labels in the order of the training"
    )
