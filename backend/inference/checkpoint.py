"""A checkpoint from elsewhere -> tensors by name."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor


class CheckpointError(Exception):
    pass


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read tensors by name; never unpickles anything but tensors.

    A state dict nested under `state_dict` or `model_state_dict`, and names that begin with
    `module.` (from DataParallel), are understood. Raises CheckpointError otherwise.
    """
    found: object
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, ValueError, RuntimeError, LookupError) as error:
        raise CheckpointError(f"{path} cannot be read as a checkpoint") from error
    except Exception as error:  # pickle.UnpicklingError: something other than tensors
        raise CheckpointError(
            f"{path} holds more than tensors and is not loaded; save model.state_dict() instead"
        ) from error
    for key in ("state_dict", "model_state_dict"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items()
    ):
        raise CheckpointError(f"{path} holds no state dict; save model.state_dict()")
    return {key.removeprefix("module."): value for key, value in found.items()}
