"""Removal of the lines of ruled and squared paper."""

import numpy as np
from numpy.typing import NDArray


def remove_ruled_lines(contrast: NDArray[np.float32], min_contrast: float) -> None:
    """Set horizontal ruled lines to 0 in `contrast` (H, W), in place.

    A ruled line is thin, even, fainter than the ink, and reaches from side to side.
    """
    inked = np.count_nonzero(contrast > 0.5 * min_contrast, axis=1)
    crossed = np.flatnonzero(inked / contrast.shape[1] > 0.9)
    if not len(crossed):
        return
    max_thickness = max(3, len(contrast) // 32)
    ends = np.flatnonzero(np.diff(crossed) > 1) + 1
    for rows in np.split(crossed, ends):
        low, line = np.quantile(contrast[rows], (0.15, 0.5))
        if len(rows) <= max_thickness and low > 0.5 * line and line < 0.75 * contrast.max():
            levels = contrast[rows[0] : rows[-1] + 1]
            levels[levels < 1.4 * line] = 0
