"""A sequential test that finds a change in a series of images, without assuming a distribution.

The first values are the reference. The test bets against the hypothesis that the later ones are
exchangeable with it: a value's rank within the reference is a conformal p-value, and a bet gains if
more values than expected are among the lowest or the highest, or have a certain label. The gains of
bets that start at all times add up to the *evidence* of a change.

The start of a bet weighs as much as the days since the previous value, at most one, plus 1 / (500 +
n) for value n, so that a change in images that arrive within minutes is found as well. While
nothing changes, the expected evidence is therefore at most the number of days passed, plus 8 after
a million values, and the expected time until it reaches d is hardly less than d days, at any
traffic, however often it is read.

Values that follow each other are seldom independent: a person sends several images. Ten consecutive
ones are one bet, whose gain is the sum of theirs, so that their dependence cannot multiply; up to
50, if batches of the reference differ more from each other than independent values would. The
sampling error of the reference is estimated from the same batches.

Sources: J. Shin, A. Ramdas, A. Rinaldo, "E-detectors: a nonparametric framework for sequential
change detection" (2022) for sums of bets; V. Vovk et al., "Retrain or not retrain: conformal test
martingales for change-point detection" (2021) for bets on ranks; C. J. Geyer, "Practical Markov
chain Monte Carlo" (1992) for batch means. The reference grows with the values at first, as theirs
does, and is then frozen, so that slow changes are found too. Bets allow for the sampling error of
the reference, so that its accidents do not become evidence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
# (sorted reference, values before, values (n,)) -> whether each value is one that a bet is on,
# divided by the share of such values in the reference; shape (n, bets)
Bet = Callable[[Numbers, Numbers, Numbers], Numbers]

MAX_REFERENCE: Final = 2000  # values; the reference grows up to this size
DELAY: Final = 500  # values that are not yet part of it: a change is to be found among them

_BLOCK: Final = 10  # consecutive values that are one bet, if they are independent
_MAX_BLOCK: Final = 50
_STAKES: Final = (0.4, 0.95)  # of the capital, for a block
_TAILS: Final = (0.02, 0.07, 0.2)  # shares of the ranks that a bet expects values in
_STANDARD_ERRORS: Final = 2.0  # of a share in the reference
_GROWTH: Final = 10  # the reference grows by a tenth at a time
_CHUNK: Final = 500  # values per step
_WINDOW: Final = 100  # values from whose frequencies the next ones are predicted
_SKIPPED: Final = 20  # values between them, which may be of the same person
_PREDICTED: Final = 25  # values that are predicted at a time


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
    are older than the last `DELAY`. An alarm is an evidence of at least `threshold`, a log10.
    """
    gaps = np.diff(days, prepend=days[:1]).clip(0, 1)
    weights = gaps[minimum:] + 1 / (DELAY + np.arange(len(values[minimum:])))
    parts: list[Numbers] = []
    alarms: list[int] = []
    known = min(minimum, len(values))
    reference = bounds = np.zeros(0)
    capital: Numbers | None = None
    begin, block = minimum, _BLOCK
    while begin < len(values):
        if not alarms or not len(reference):
            known = min(max(begin - DELAY, minimum), MAX_REFERENCE)
            reference = np.sort(values[:known])
            gains = bet(reference, values[:0], values[:known])
            bounds = _upper_bounds(gains)
            block = _block_size(gains) if begin == minimum else block
        step = min(max(begin // _GROWTH // block, 1) * block, _CHUNK // block * block)
        end = min(begin + step, len(values))
        blocks = np.arange(0, end - begin, block)
        before = values[max(begin - _WINDOW - _SKIPPED, 0) : begin]
        excess = np.add.reduceat(bet(reference, before, values[begin:end]) / bounds - 1, blocks)
        gains = np.log(np.hstack([1 + stake / block * excess for stake in _STAKES]))
        starts = np.log(np.add.reduceat(weights[begin - minimum : end - minimum], blocks))
        first = 0
        while first < len(blocks):
            sums = _add_up(gains[first:], starts[first:], capital)
            total = np.logaddexp.reduce(sums, axis=1) - np.log(sums.shape[1])
            log10 = total / np.log(10)
            reached = np.flatnonzero(log10 >= threshold)
            used = int(reached[0]) + 1 if len(reached) else len(log10)
            parts.append(log10[:used])
            capital = sums[used - 1]
            first += used
            if len(reached):
                alarms.append(min(begin + first * block, end) - 1 - minimum)
                capital = None
        begin = end
    evidence = np.repeat(np.concatenate(parts), block) if parts else np.zeros(0)
    return Evidence(evidence[: max(len(values) - minimum, 0)], tuple(alarms), known)


def bet_on_tails(reference: Numbers, _: Numbers, values: Numbers) -> Numbers:
    """Bet on the lowest and the highest ranks; `reference` is sorted.

    Equal values share the mean of their ranks.
    """
    ranks = len(reference) + 1
    low = np.searchsorted(reference, values, "left") / ranks
    high = (np.searchsorted(reference, values, "right") + 1) / ranks
    overlaps = [np.minimum(high, tail) - low for tail in _TAILS]
    overlaps += [high - np.maximum(low, 1 - tail) for tail in _TAILS]
    shares = (high - low)[:, np.newaxis] * np.array((*_TAILS, *_TAILS))
    gains: Numbers = np.stack(overlaps, axis=1).clip(0) / shares
    return gains


def bet_on_labels(labels: Numbers, min_share: float) -> Bet:
    """Return bets on each label (an integer) that is in `labels` at least with `min_share`.

    One more bet is on all other labels together. A share below `min_share` counts as `min_share`:
    the reference is too small to tell.
    """
    found, counts = np.unique(labels, return_counts=True)
    frequent = found[counts >= min_share * len(labels)]

    def bet(reference: Numbers, _: Numbers, values: Numbers) -> Numbers:
        shares = _members(reference, frequent).mean(axis=0).clip(min_share, 1)
        gains: Numbers = _members(values, frequent) / shares
        return gains

    return bet


def bet_on_frequent(reference: Numbers, before: Numbers, values: Numbers) -> Numbers:
    """Bet on the values that have become frequent shortly before, whether or not they are new.

    The bet is on each value in proportion to its frequency, a likelihood ratio (Wald 1947).
    """
    known = len(reference)
    found, codes = np.unique(np.concatenate([reference, before, values]), return_inverse=True)
    shares = np.bincount(codes[:known], minlength=len(found)) / known
    shares += _STANDARD_ERRORS * np.sqrt(shares * (1 - shares) / known)
    shares = shares.clip(3 / known, 1)  # rule of three: a value may be as frequent and not be seen
    gains = np.ones(len(values))
    first = known + len(before)
    for start in range(0, len(values), _PREDICTED):
        end = first + start - _SKIPPED
        window = codes[max(end - _WINDOW, known) : max(end, known)]
        if len(window) == _WINDOW:
            predicted = np.bincount(window, minlength=len(found)) / _WINDOW
            now = codes[first + start : first + start + _PREDICTED]
            gains[start : start + _PREDICTED] = predicted[now] / shares[now]
    return gains[:, np.newaxis]


def combine(*bets: Bet) -> Bet:
    """Return all of the bets as one."""
    return lambda reference, before, values: np.hstack(
        [bet(reference, before, values) for bet in bets]
    )


def bet_on_errors(min_rate: float) -> Bet:
    """Return a bet on values of 1; a rate below `min_rate` counts as `min_rate`."""

    def bet(reference: Numbers, _: Numbers, values: Numbers) -> Numbers:
        return values[:, np.newaxis] / max(float(reference.mean()), min_rate)

    return bet


def _upper_bounds(gains: Numbers) -> Numbers:
    """Return what the true mean of each bet's `gains` (n, bets) in the reference hardly exceeds.

    Without it, an accidental difference of the reference would become evidence in the long run.
    """
    independent, batched = _standard_errors(gains)
    return 1 + _STANDARD_ERRORS * np.maximum(independent, batched)


def _block_size(gains: Numbers) -> int:
    """Return how many consecutive values are one bet: more if they resemble each other."""
    independent, batched = _standard_errors(gains)
    varies = independent > 0
    if not varies.any():
        return _BLOCK
    effect = float(np.mean((batched[varies] / independent[varies]) ** 2))  # the design effect
    return min(max(int(np.ceil(effect / 2)), 1) * _BLOCK, _MAX_BLOCK)


def _standard_errors(gains: Numbers) -> tuple[Numbers, Numbers]:
    """Return those of the means (bets,) if values are independent, and of means of batches."""
    size = len(gains)
    length = int(np.sqrt(size))
    batches = gains[: size // length * length].reshape(size // length, length, -1).mean(axis=1)
    return gains.std(axis=0) / np.sqrt(size), batches.std(axis=0, ddof=1) / np.sqrt(len(batches))


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
