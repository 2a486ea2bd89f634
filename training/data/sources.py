"""The datasets that the digit models are trained and validated on."""

from dataclasses import dataclass
from pathlib import Path

from backend.inference.preprocessing.digit_crop import DigitPreprocess
from training.data.digits import Digits, read_mnist, read_uci
from training.data.rendering import RenderingConfig, render_digits, render_negatives

MNIST_VALIDATION_COUNT = 5_000  # the last digits of the MNIST training split
# Images per digit of the source, or per class for synthetic digits.
UCI_VARIANTS, HANDWRITING_VARIANTS, PRINT_VARIANTS = 30, 4_000, 1_500
UCI_VALIDATION_VARIANTS, HANDWRITING_VALIDATION_VARIANTS, PRINT_VALIDATION_VARIANTS = 3, 300, 100
NEGATIVE_COUNT, NEGATIVE_VALIDATION_COUNT = 24_000, 3_000


@dataclass(frozen=True)
class TrainingSource:
    """Training crops; each epoch draws a random `share` of them, in [0, 1]."""

    digits: Digits
    share: float

    @property
    def count_per_epoch(self) -> int:
        """The number of crops that an epoch draws."""
        return round(self.share * len(self.digits))


def load_training_sources(
    mnist: Path, spec: DigitPreprocess, cache: Path, workers: int
) -> list[TrainingSource]:
    """Return all training data: MNIST, rendered MNIST and UCI, synthetic digits, negatives."""
    raw = read_mnist(mnist, "train")[:-MNIST_VALIDATION_COUNT]
    uci, _ = read_uci()
    configs = {
        "mnist": RenderingConfig(raw, 2, seed=1),
        "uci": RenderingConfig(uci, UCI_VARIANTS, seed=2),
        "handwriting": RenderingConfig(None, HANDWRITING_VARIANTS, seed=3),
        "print": RenderingConfig(None, PRINT_VARIANTS, seed=5, coarse_share=0.1, is_printed=True),
    }
    rendered = {name: render_digits(c, spec, cache, name, workers) for name, c in configs.items()}
    negatives = render_negatives(NEGATIVE_COUNT, 4, spec, cache, "negatives", workers)
    return [
        TrainingSource(raw, 0.9),
        TrainingSource(rendered["mnist"], 0.4),
        TrainingSource(rendered["uci"], 0.35),
        TrainingSource(rendered["handwriting"], 0.35),
        TrainingSource(rendered["print"], 0.4),
        TrainingSource(negatives, 0.8),
    ]


def load_validation_sets(
    mnist: Path, spec: DigitPreprocess, cache: Path, workers: int
) -> dict[str, Digits]:
    """Return the validation digits by name: MNIST, rendered MNIST and UCI, synthetic digits."""
    held_out = read_mnist(mnist, "train")[-MNIST_VALIDATION_COUNT:]
    _, uci = read_uci()
    configs = {
        "coarse scans": RenderingConfig(held_out[:3000], 1, seed=11, coarse_share=1.0),
        "other writers": RenderingConfig(uci, UCI_VALIDATION_VARIANTS, 12, is_undistorted=True),
        "synthetic handwriting": RenderingConfig(None, HANDWRITING_VALIDATION_VARIANTS, seed=13),
        "print": RenderingConfig(
            *(None, PRINT_VALIDATION_VARIANTS, 15, 0.0), is_undistorted=True, is_printed=True
        ),
    }
    rendered = {
        name: render_digits(config, spec, cache, f"validation-{name.replace(' ', '-')}", workers)
        for name, config in configs.items()
    }
    return {"mnist": held_out, **rendered}


def load_validation_negatives(spec: DigitPreprocess, cache: Path, workers: int) -> Digits:
    """Return the validation crops without a digit.

    They are drawn with another seed than the training negatives, from the same photographs.
    """
    name = "validation-negatives"
    return render_negatives(NEGATIVE_VALIDATION_COUNT, 14, spec, cache, name, workers)
