"""A sequential test that finds a change in a series of images, without assuming a distribution.

The first values are the reference. The test bets against the hypothesis that the later ones are
exchangeable with it: a value's rank within the reference is a conformal p-value, and a bet gains if
more values than expected are among the lowest or the highest, or have a certain label. The gains of
bets that start at all times add up to the *evidence* of a change.

The start of a bet weighs as much as the days since the previous value. While nothing changes, the
expected evidence is therefore at most the number of days passed, and the expected time until it
reaches d is at least d days, at any traffic, however often it is read.

Sources: J. Shin, A. Ramdas, A. Rinaldo, "E-detectors: a nonparametric framework for sequential
change detection" (2022) for sums of bets; V. Vovk et al., "Retrain or not retrain: conformal test
martingales for change-point detection" (2021) for bets on ranks. The reference grows with the
values at first, as theirs does, and is then frozen, so that slow changes are found too. Bets allow
for the sampling error of the reference, so that its accidents do not become evidence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Share = TypeVar("Share", float, Numbers)
Bet = Callable[[Numbers, Numbers], Numbers]  # (reference, values (n,)) -> gains (n, bets)

MAX_REFERENCE: Final = 2000  # values; the reference grows up to this size
DELAY: Final = 500  # values that are not yet part of it: a change is to be found among them

_STAKES: Final = (0.1, 0.2)  # of the capital; the best ones if these shares of values have changed
_TAILS: Final = (0.02, 0.07, 0.2)  # shares of the ranks that a bet expects values in
_STANDARD_ERRORS: Final = 1.5  # of a share in the reference
_GROWTH: Final = 10  # the reference grows by a tenth at a time
_CHUNK: Final = 500  # values per step


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence of a change for each value after the initial reference.

    `log10` has shape (n,). The evidence starts again from zero after each of the `alarms`, which
    are indices into it. `reference_size` is the number of first values that became the reference.
    """

    log10: Numbers
    alarms: tuple[int, ...]
    reference_size: int


def find_changes(
    values: Numbers, days: Numbers, bet: Bet, *, minimum: int, threshold: float
) -> Evidence:
    """Return the evidence for `values` (n,) at the times `days` (n,), which increase.

    The reference is the first `minimum` values. Until the first alarm it grows by the values that
    are older than the last `DELAY`. An alarm is an
    evidence of at least `threshold`, a log10.
    """
    starts = np.log(np.diff(days, prepend=days[:1]).clip(1e-12))
    starts[minimum : minimum + 1] = 0.0  # the first bet counts as a day
    parts: list[Numbers] = []
    alarms: list[int] = []
    known = min(minimum, len(values))
    reference = np.sort(values[:known])
    capital: Numbers | None = None
    begin = minimum
    while begin < len(values):
        if not alarms:
            known = min(max(begin - DELAY, minimum), MAX_REFERENCE)
            reference = np.sort(values[:known])
        end = min(begin + min(begin // _GROWTH, _CHUNK), len(values))
        gains = np.log(bet(reference, values[begin:end]))
        while begin < end:
            sums = _add_up(gains[begin - end :], starts[begin:end], capital)
            total = np.logaddexp.reduce(sums, axis=1) - np.log(sums.shape[1])
            log10 = total / np.log(10)
            reached = np.flatnonzero(log10 >= threshold)
            used = int(reached[0]) + 1 if len(reached) else len(log10)
            parts.append(log10[:used])
            capital = sums[used - 1]
            begin += used
            if len(reached):
                alarms.append(begin - 1 - minimum)
                capital = None
    empty = np.zeros(0)
    return Evidence(np.concatenate(parts) if parts else empty, tuple(alarms), known)


def bet_on_tails(reference: Numbers, values: Numbers) -> Numbers:
    """Return the gains of bets on the lowest and highest ranks; `reference` is sorted.

    The gain of equal values is the mean gain of their ranks.
    """
    size = len(reference)
    ranks = len(reference) + 1
    low = np.searchsorted(reference, values, "left") / ranks
    high = (np.searchsorted(reference, values, "right") + 1) / ranks
    gains = []
    for tail in _TAILS:
        for overlap in (np.minimum(high, tail) - low, high - np.maximum(low, 1 - tail)):
            density = overlap.clip(0) / (high - low) / _upper_bound(tail, size)
            gains.append(density)
    return _at_all_stakes(np.stack(gains, axis=1))


def bet_on_labels(labels: Numbers, min_share: float) -> Bet:
    """Return bets on each label (an integer) that is in `labels` at least with `min_share`.

    One more bet is on all other labels together. A share below `min_share` counts as `min_share`:
    the reference is too small to tell.
    """
    found, counts = np.unique(labels, return_counts=True)
    frequent = found[counts >= min_share * len(labels)]

    def bet(reference: Numbers, values: Numbers) -> Numbers:
        shares = _members(reference, frequent).mean(axis=0).clip(min_share, 1)
        bounds = _upper_bound(shares, len(reference))
        return _at_all_stakes(_members(values, frequent) / bounds)

    return bet


def combine(*bets: Bet) -> Bet:
    """Return all of the bets as one."""
    return lambda reference, values: np.hstack([bet(reference, values) for bet in bets])


def bet_on_errors(min_rate: float) -> Bet:
    """Return a bet on values of 1; a rate below `min_rate` counts as `min_rate`."""

    def bet(reference: Numbers, values: Numbers) -> Numbers:
        rate = _upper_bound(max(reference.mean(), min_rate), len(reference))
        return _at_all_stakes(values[:, np.newaxis] / rate)

    return bet


def _at_all_stakes(gains: Numbers) -> Numbers:
    """Return the gains (n, bets) of betting only a part of the capital, for each of the stakes."""
    return np.hstack([1 - stake + stake * gains for stake in _STAKES])


def _upper_bound(share: Share, size: int) -> Share:
    """Return what the true `share` hardly exceeds, given its value in a reference of this size.

    Without it, an accidental difference of the reference would become evidence in the long run.
    """
    bound: Share = share + _STANDARD_ERRORS * np.sqrt(share * (1 - share) / size)
    return bound


def _members(values: Numbers, labels: Numbers) -> NDArray[np.bool_]:
    """Return whether each value is each label, or none of them (last column)."""
    is_label = values[:, np.newaxis] == labels
    return np.column_stack([is_label, ~is_label.any(axis=1)])


def _add_up(gains: Numbers, starts: Numbers, capital: Numbers | None) -> Numbers:
    """Return the logarithms of the sums of all bets, shape (n, bets).

    M[n] = (M[n - 1] + start[n]) * gain[n], where M starts with `capital`.
    """
    grown = np.cumsum(gains, axis=0)
    shifted = starts[:, np.newaxis] - (grown - gains)
    if capital is not None:
        shifted[0] = np.logaddexp(shifted[0], capital)
    return grown + np.logaddexp.accumulate(shifted, axis=0)
