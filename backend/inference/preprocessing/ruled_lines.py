"""Ruled and squared paper: its lines are not ink."""

import numpy as np
from numpy.typing import NDArray


def unrule(raised: NDArray[np.float32], min_contrast: float) -> None:
    """Take ruled lines, thin, even, fainter than the ink and from side to side, out of the rows."""
    inked = np.count_nonzero(raised > 0.5 * min_contrast, axis=1)
    crossed = np.flatnonzero(inked / raised.shape[1] > 0.9)
    if not len(crossed):
        return
    thickest = max(3, len(raised) // 32)
    ends = np.flatnonzero(np.diff(crossed) > 1) + 1
    for rows in np.split(crossed, ends):
        low, line = np.quantile(raised[rows], (0.15, 0.5))
        if len(rows) <= thickest and low > 0.5 * line and line < 0.75 * raised.max():
            levels = raised[rows[0] : rows[-1] + 1]
            levels[levels < 1.4 * line] = 0
