"""How long and how fast a network learns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """AdamW with a warm-up of one epoch; less when validation stands still, until it ends.

    What decides is the validation loss of the averaged weights, once calibrated. Where it has not
    fallen by `threshold` (a share of its least) for more than `patience` epochs, the rate falls by
    `factor`; where it has set no new least for `stop_after` epochs, or `epochs` are over, training
    ends.
    """

    epochs: int = 16
    batch: int = 256
    rate: float = 3e-3
    decay: float = 1e-4
    averaging: float = 0.999  # of the weights, per step; steadier than the last epoch's own
    smoothing: float = 0.02
    factor: float = 0.3
    patience: int = 2
    threshold: float = 0.01
    stop_after: int = 6
    seed: int = 20
    bfloat16: bool = False  # three times as fast where the CPU has avx512_bf16, slower elsewhere
