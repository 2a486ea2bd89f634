"""Probabilities -> labeled classifications of one model."""

from itertools import repeat
from typing import Final

import numpy as np

from backend.inference.models.artifact import Manifest
from backend.inference.types import ClassificationResult, Floats, Timings
from calibration.apply import NONE_OF_THESE, SetSize
from calibration.sigmoid import label_thresholds


class Labeler:
    """Makes classifications from the probabilities and scores of the model of a manifest."""

    def __init__(self, manifest: Manifest) -> None:
        calibration = manifest.calibration
        self._labels: Final = manifest.labels
        sets = calibration.sets if calibration else ()
        self._set_size: Final = SetSize(sets) if sets else None
        self._max_ood_score: Final = calibration.max_ood_score if calibration else None
        self._thresholds: Final = label_thresholds(manifest.task, len(manifest.labels), calibration)
        labels = manifest.labels
        self._none_index: Final = labels.index(NONE_OF_THESE) if NONE_OF_THESE in labels else None

    def __call__(
        self,
        probabilities: Floats,
        ood_scores: Floats | None,
        timings: Timings,
        brightness: float | None = None,
    ) -> list[ClassificationResult]:
        """Return one classification for each row of `probabilities` (N, C) and `ood_scores` (N,).

        An image whose most probable label is "None of these" is out of distribution.
        """
        ranking = np.argsort(-probabilities, axis=1, kind="stable")
        scores = repeat(None) if ood_scores is None else ood_scores.tolist()
        rows = zip(probabilities, ranking, scores, strict=False)
        labels, fits, size = self._labels, self._is_in_distribution, self._set_size
        thresholds = self._thresholds
        return [
            ClassificationResult(
                labels,
                row,
                order,
                timings,
                score,
                fits(score, order[0]),
                size,
                brightness,
                thresholds=thresholds,
            )
            for row, order, score in rows
        ]

    def _is_in_distribution(self, ood_score: float | None, best: np.intp) -> bool | None:
        if self._thresholds is not None:
            return None
        if self._none_index is not None and best == self._none_index:
            return False
        if ood_score is None or self._max_ood_score is None:
            return None
        return ood_score <= self._max_ood_score
