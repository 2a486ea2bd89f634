"""Training of a model from examples: features, cross-validation, calibration, head, report."""

import time
from collections.abc import Callable, Collection, MutableMapping
from datetime import UTC, datetime

import numpy as np
from threadpoolctl import threadpool_limits

from calibration import apply, fit
from calibration.apply import Calibration
from evaluation.intervals import wilson
from teach import background, head, model_folder, ood, training_features, warnings
from teach.cross_validation import HeldOut, cross_validate
from teach.dataset import Dataset, embed_examples
from teach.errors import TeachCancelled
from teach.ood import OodScore
from teach.training_features import TrainingFeatures
from teach.types import (
    Backbone,
    Embed,
    Example,
    Floats,
    Progress,
    Report,
    Suspect,
    TaughtModel,
)

MAX_SUSPECTS = 200
_SUSPECT_PROBABILITY = 0.5  # images whose own label is less probable are suspects
_EMBEDDING_SHARE = 0.85  # of the progress


def train(
    examples: Collection[Example],
    embed: Embed,
    backbone: Backbone,
    *,
    name: str,
    title: str | None = None,
    progress: Progress | None = None,
    is_cancelled: Callable[[], bool] | None = None,
    cache: MutableMapping[str, Floats] | None = None,
    predecessor: TrainingFeatures | None = None,
) -> TaughtModel:
    """Return a model that is trained on all examples, with cross-validated measurements.

    `cache` holds features by the SHA-256 of the image file; those of new images are added, so that
    training again with the same cache takes seconds. The training images of a `predecessor` are
    used too, unless an example shows the same. Raise TeachError, whose message is for the
    user, if the examples or the name cannot be used, and TeachCancelled soon after `is_cancelled`
    returns true. Exceptions of `embed` are passed on.
    """
    model_folder.check_name(name)
    report_progress = progress or (lambda step, share: None)
    should_stop = is_cancelled or (lambda: False)
    started = time.monotonic()

    def report_embedding(share: float) -> None:
        report_progress("Computing features", _EMBEDDING_SHARE * share)

    def report_validation(share: float) -> None:
        if should_stop():
            raise TeachCancelled("The training was stopped.")
        report_progress("Training", _EMBEDDING_SHARE + (1 - _EMBEDDING_SHARE) * share)

    data = embed_examples(
        examples,
        embed,
        backbone.dimensions,
        cache={} if cache is None else cache,
        progress=report_embedding,
        is_cancelled=should_stop,
        predecessor=predecessor,
    )
    embedded = time.monotonic()
    others = background.load(backbone)
    classes = len(data.labels)
    # Threads cost more than they save for matrices of this size, above all on a busy machine.
    with threadpool_limits(1):
        images = data.features, data.truth, classes
        held_out = cross_validate(*images, others, data.none_index, report_validation)
        report_validation(1)
        trained = head.fit(*images, others, data.none_index)
    score = ood.choose(held_out, data.truth != (-1 if data.none_index is None else data.none_index))
    calibration = _calibrate(data, held_out, score)
    seconds = {
        "embedding": round(embedded - started, 3),
        "training": round(time.monotonic() - embedded, 3),
    }
    report = _report(data, held_out, calibration, score, seconds)
    return model_folder.build(
        name=name,
        title=title or name,
        backbone=backbone,
        head=trained,
        training=training_features.pack(data.features, data.truth),
        calibration=calibration,
        report=report,
        created=datetime.now(UTC),
    )


def _calibrate(data: Dataset, held_out: HeldOut, score: OodScore) -> Calibration:
    """Return the calibration fitted to the held-out logits (cross-conformal, Vovk 2015)."""
    temperature = fit.fit_temperature(held_out.logits, data.truth, "logits")
    scaled = apply.probabilities(held_out.logits, "logits", temperature)
    sets = fit.fit_sets(scaled, data.truth)
    sizes = {c: apply.prediction_sets(scaled, sets, c).sum(1).mean() for c in apply.COVERAGES}
    return Calibration(
        temperature=temperature,
        sets=sets,
        ood_method=score.method,
        max_ood_score=score.limit,
        pictures=len(data.truth),
        source="cross-validation of the training images",
        mean_set_size={str(c): round(float(size), 4) for c, size in sizes.items()},
    )


def _report(
    data: Dataset,
    held_out: HeldOut,
    calibration: Calibration,
    score: OodScore,
    seconds: dict[str, float],
) -> Report:
    scaled = apply.probabilities(held_out.logits, "logits", calibration.temperature)
    predictions = scaled.argmax(axis=1)
    own = scaled[np.arange(len(data.truth)), data.truth]
    confusion = np.zeros((len(data.labels), len(data.labels)), np.intp)
    np.add.at(confusion, (data.truth, predictions), 1)
    correct = int(np.trace(confusion))
    suspects = [
        Suspect(
            index=data.indices[position],
            name=data.names[position],
            label=data.labels[data.truth[position]],
            prediction=data.labels[predictions[position]],
            probability=float(own[position]),
        )
        for position in np.argsort(own, kind="stable")[:MAX_SUSPECTS]
        if own[position] < _SUSPECT_PROBABILITY and data.indices[position] >= 0
    ]
    interval = wilson(correct, len(data.truth))
    return Report(
        labels=data.labels,
        counts=data.counts,
        accuracy=correct / len(data.truth),
        interval=interval,
        confusion=confusion,
        suspects=tuple(suspects),
        unusable=data.unusable,
        warnings=warnings.find(data, interval, score.auroc, is_optimistic=held_out.is_optimistic),
        ood_method=score.method,
        ood_auroc=score.auroc,
        mean_set_size=calibration.mean_set_size["0.95"],
        seconds=seconds,
    )
