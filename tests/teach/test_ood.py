"""Tests of the choice of the out-of-distribution score and its limit."""

import numpy as np

from teach.cross_validation import HeldOut
from teach.ood import FALSE_OOD_RATE, choose, fit_limit
from teach.types import Floats


def held_out(known: Floats, other: Floats, energies: tuple[Floats, Floats]) -> HeldOut:
    logits = [np.stack([-each, np.full_like(each, -1e3)], axis=1) for each in energies]
    return HeldOut(logits[0], known, logits[1], other, is_optimistic=False)


def scores(mean: float, count: int = 200) -> Floats:
    return np.random.default_rng(int(100 + 10 * mean)).normal(mean, 0.1, count).astype(np.float32)


def test_score_with_the_higher_auroc_is_chosen() -> None:
    is_known = np.ones(200, bool)
    good, bad = (scores(0), scores(1)), (scores(0.2), scores(0.3))
    assert choose(held_out(*good, bad), is_known).method == "feature_distance"
    chosen = choose(held_out(*bad, good), is_known)
    assert chosen.method == "energy"
    assert chosen.auroc is not None
    assert chosen.auroc > 0.99


def test_without_background_the_score_is_the_distance_and_the_auroc_is_unknown() -> None:
    empty = np.empty(0, np.float32)
    chosen = choose(held_out(scores(0), empty, (scores(0), empty)), np.ones(200, bool))
    assert (chosen.method, chosen.auroc) == ("feature_distance", None)


def test_images_of_the_class_of_other_things_do_not_raise_the_limit() -> None:
    known = np.concatenate([scores(0), scores(5)])
    empty = np.empty(0, np.float32)
    data = held_out(known, empty, (known, empty))
    assert choose(data, np.repeat([True, False], 200)).limit < 1


def test_limit_refuses_a_small_share_of_the_known_images() -> None:
    known = scores(0, 1000)
    assert (known > fit_limit(known, None)).mean() <= FALSE_OOD_RATE


def test_limit_of_few_images_accepts_all_and_leaves_a_margin_up_to_other_images() -> None:
    known, other = scores(0, 10), scores(1)
    assert fit_limit(known, None) == known.max()
    limit = fit_limit(known, other)
    assert limit > known.max()
    assert (other <= limit).mean() <= 0.06
    assert fit_limit(known, scores(-1)) == known.max()
