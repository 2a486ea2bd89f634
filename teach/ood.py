"""Choice of the out-of-distribution score of a taught model, and of its limit."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from calibration import apply
from calibration.apply import OodMethod
from teach.cross_validation import HeldOut
from teach.types import Floats

FALSE_OOD_RATE: Final = 0.02  # share of images of the classes that may be refused
ACCEPTED_OTHER_RATE: Final = 0.05  # of images of other things, if few images decide the limit


@dataclass(frozen=True, slots=True)
class OodScore:
    """The score, its limit, and how well it separates images of other things (None: unknown)."""

    method: OodMethod
    limit: float
    auroc: float | None


def choose(held_out: HeldOut, is_known: NDArray[np.bool_]) -> OodScore:
    """Return the score with the higher AUROC against the background.

    `is_known`, shape (N,), excludes images of the class of other things. Without a background the
    score is the feature distance, which needs none.
    """
    distances = held_out.distances[is_known]
    if not len(held_out.background_logits):
        return OodScore("feature_distance", fit_limit(distances, None), None)
    candidates: dict[OodMethod, tuple[Floats, Floats]] = {
        "feature_distance": (distances, held_out.background_distances),
        "energy": (
            apply.ood_scores(held_out.logits[is_known]),
            apply.ood_scores(held_out.background_logits),
        ),
    }
    aurocs = {method: _auroc(known, other) for method, (known, other) in candidates.items()}
    method = max(aurocs, key=lambda each: aurocs[each])
    return OodScore(method, fit_limit(*candidates[method]), aurocs[method])


def fit_limit(known: Floats, other: Floats | None) -> float:
    """Return the limit that a share of FALSE_OOD_RATE of the `known` scores exceeds.

    If there are too few of them for that share, it is the highest score. As the next image may
    well have a higher one, the limit is raised further as long as no more than ACCEPTED_OTHER_RATE
    of the `other` scores are below it.
    """
    exceeding = math.floor(FALSE_OOD_RATE * (len(known) + 1))
    if exceeding:
        return float(np.sort(known)[-exceeding])
    limit = float(known.max())
    return limit if other is None else max(limit, float(np.quantile(other, ACCEPTED_OTHER_RATE)))


def _auroc(known: Floats, other: Floats) -> float:
    is_other = np.concatenate([np.zeros(len(known)), np.ones(len(other))])
    return float(roc_auc_score(is_other, np.concatenate([known, other])))
