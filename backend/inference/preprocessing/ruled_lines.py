"""Removal of the lines of ruled and squared paper."""

import numpy as np
from numpy.typing import NDArray

MAX_CONTRAST = 0.75  # of a line, as a share of the largest contrast, which is that of the ink
MAX_CONTRAST_OF_SEVERAL = 0.9  # of MIN_SEVERAL or more parallel lines, which are no strokes
MIN_SEVERAL = 4

Lines = list[tuple[NDArray[np.intp], float]]  # the rows of each line, and its contrast


def remove_ruled_lines(contrast: NDArray[np.float32], min_contrast: float) -> bool:
    """Set horizontal and vertical ruled lines to 0 in `contrast` (H, W), in place.

    A ruled line is thin, even, fainter than the ink, and reaches from side to side. Return whether
    there is one.
    """
    # Find all lines first: removing those of one direction interrupts those of the other.
    is_inked = contrast > 0.5 * min_contrast
    directions = [
        (levels, _find_lines(levels, np.count_nonzero(is_inked, axis=axis)))
        for levels, axis in ((contrast, 1), (contrast.T, 0))
    ]
    if not any(lines for _, lines in directions):
        return False
    ink = float(contrast.max())
    for levels, lines in directions:
        has_several = len(lines) >= MIN_SEVERAL
        for rows, line in lines:
            if line < (MAX_CONTRAST_OF_SEVERAL if has_several else MAX_CONTRAST) * ink:
                strip = levels[rows[0] : rows[-1] + 1]
                strip[strip < min(1.4 * line, 0.5 * (line + ink))] = 0
    return True


def _find_lines(contrast: NDArray[np.float32], inked: NDArray[np.intp]) -> Lines:
    """Return the thin, even lines from side to side; row i has `inked[i]` inked pixels."""
    crossed = np.flatnonzero(inked / contrast.shape[1] > 0.9)
    if not len(crossed):
        return []
    max_thickness = max(3, len(contrast) // 32)
    ends = np.flatnonzero(np.diff(crossed) > 1) + 1
    lines = []
    for rows in np.split(crossed, ends):
        low, line = np.quantile(contrast[rows], (0.15, 0.5))
        if len(rows) <= max_thickness and low > 0.5 * line:
            lines.append((rows, float(line)))
    return lines
