"""Runs a graph whose batch size is fixed on batches of any size."""

from collections.abc import Callable

import numpy as np

from backend.inference.types import Floats


def run_in_parts(
    run: Callable[[Floats], list[Floats]], batch: Floats, size: int | None
) -> list[Floats]:
    """Return the outputs (N, ...) of `run` for `batch` (N, *input), in parts of `size` rows.

    The last part is filled up with copies of the last row. None: `run` takes any batch.
    """
    if size is None:
        return run(batch)
    padded = np.concatenate([batch, np.repeat(batch[-1:], -len(batch) % size, axis=0)])
    parts = [run(padded[start : start + size]) for start in range(0, len(padded), size)]
    return [np.concatenate(each)[: len(batch)] for each in zip(*parts, strict=True)]
