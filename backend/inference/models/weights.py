"""What lies in `weights.safetensors`, looked at without torch."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from backend.inference.errors import ArtifactError


def count_elements(path: Path) -> int:
    """Count the numbers of all tensors; raises ArtifactError where one is not finite.

    Raises it too where the file is no safetensors file: a pickle is never opened.
    """
    elements = 0
    try:
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 (it is no dict)
                tensor = np.asarray(file.get_tensor(name))
                if not np.isfinite(tensor).all():
                    raise ArtifactError(f"{path.parent}: {path.name}: {name} is not finite")
                elements += tensor.size
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path.parent}: {path.name} is damaged, or not a safetensors file"
        ) from error
    return elements
