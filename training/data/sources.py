"""What the digit classifier learns from, and what it is checked on: MNIST and foreign hands."""

from dataclasses import dataclass
from pathlib import Path

from backend.inference.preprocessing.digits import DigitPreprocess
from training.data.digits import Digits, read_mnist, read_uci
from training.data.rendering import Recipe, build_nothing, build_pool

VALIDATION = 5_000  # the last so many of MNIST's training digits validate
UCI_VARIANTS, PEN_VARIANTS, TYPED_VARIANTS = 30, 4_000, 1_500
NOTHING_COUNT, NOTHING_VALIDATION = 24_000, 3_000


@dataclass(frozen=True)
class Source:
    """Fields to learn from; `share` of them, drawn anew, is seen in each epoch."""

    digits: Digits
    share: float


def training_sources(mnist: Path, spec: DigitPreprocess, cache: Path, workers: int) -> list[Source]:
    """MNIST as it is and through the channels, UCI's writers, imaginary pens, print, nothing."""
    known = read_mnist(mnist, "train")[:-VALIDATION]
    uci, _ = read_uci()
    scenes = build_pool(Recipe(known, 2, seed=1), spec, cache, "mnist", workers)
    foreign = build_pool(Recipe(uci, UCI_VARIANTS, seed=2), spec, cache, "uci", workers)
    written = build_pool(Recipe(None, PEN_VARIANTS, seed=3), spec, cache, "pen", workers)
    typed = build_pool(
        Recipe(None, TYPED_VARIANTS, seed=5, coarse=0.1, typed=True), spec, cache, "typed", workers
    )
    nothing = build_nothing(NOTHING_COUNT, 4, spec, cache, "nothing", workers)
    return [
        Source(known, 0.9),
        Source(scenes, 0.4),
        Source(foreign, 0.35),
        Source(written, 0.35),
        Source(typed, 0.4),
        Source(nothing, 0.8),
    ]


def validation_sets(
    mnist: Path, spec: DigitPreprocess, cache: Path, workers: int
) -> dict[str, Digits]:
    """Digits that are not learnt from: MNIST's, three kinds of foreign handwriting, and print."""
    held = read_mnist(mnist, "train")[-VALIDATION:]
    _, uci = read_uci()
    scans = Recipe(held[:3000], 1, seed=11, coarse=1.0)
    other = Recipe(uci, 3, seed=12, coarse=0.5, plain=True)
    written = Recipe(None, 300, seed=13, coarse=0.5)
    typed = Recipe(None, 100, seed=15, coarse=0.0, plain=True, typed=True)
    return {
        "mnist": held,
        "coarse scans": build_pool(scans, spec, cache, "scans-validation", workers),
        "other writers": build_pool(other, spec, cache, "uci-validation", workers),
        "imaginary pen": build_pool(written, spec, cache, "pen-validation", workers),
        "print": build_pool(typed, spec, cache, "typed-validation", workers),
    }


def validation_nothing(spec: DigitPreprocess, cache: Path, workers: int) -> Digits:
    """Fields without a digit that are not learnt from; the photographs are the same."""
    return build_nothing(NOTHING_VALIDATION, 14, spec, cache, "nothing-validation", workers)
