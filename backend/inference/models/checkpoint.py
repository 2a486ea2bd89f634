"""Checkpoint files: reading tensors without unpickling, and conversion to a model folder."""

from collections.abc import Collection, Iterator
from pathlib import Path

from backend.inference.errors import ArtifactError, RuntimeMissingError
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.preprocessing.digit_crop import LABELS, DigitPreprocess

try:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file
    from torch import Tensor, nn

    from backend.inference.models import networks
except ModuleNotFoundError as error:
    raise RuntimeMissingError(
        f"{error.name} is not installed, but is required for a bare checkpoint; run "
        "`pip install -r requirements_backend.txt`, or package the checkpoint as a model folder"
    ) from error

NESTED_KEYS = ("state_dict", "model_state_dict")


def read_state_dict(path: Path, expected: Collection[str] = ()) -> dict[str, Tensor]:
    """Read tensors by name from a `.safetensors` file or torch's format, without unpickling.

    Supports state dicts nested under `state_dict` (Lightning) or `model_state_dict`, and names that
    begin with `module.` (DataParallel). A prefix that all names share, such as Lightning's
    `model.`, is removed if that yields the `expected` names. Raise ArtifactError for other files.
    """
    content: object
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, ValueError, RuntimeError, LookupError) as error:
        raise ArtifactError(f"{path} cannot be read as a checkpoint") from error
    except Exception as error:  # pickle.UnpicklingError: objects other than tensors
        raise ArtifactError(
            f"{path} contains more than tensors and is not loaded; save model.state_dict() instead"
        ) from error
    for key in NESTED_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise ArtifactError(f"{path} contains no state dict; save model.state_dict()")
    tensors = {key.removeprefix("module."): value for key, value in content.items()}
    return remove_shared_prefix(tensors, expected)


def write_folder(path: Path, architecture: str, folder: Path, title: str) -> Artifact:
    """Write the digit classifier in the checkpoint `path` to `folder`, a model folder without ONNX.

    Raise ArtifactError if the architecture is unknown or does not classify digits, or if the
    checkpoint is unreadable, does not fit the architecture or has weights that are not finite.
    """
    network = networks.build(architecture)
    tensors = read_state_dict(path, network.state_dict())
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ArtifactError(f"{path} does not fit the architecture {architecture}") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise ArtifactError(f"{path} contains weights that are not finite")
    _require_digits(network, architecture)
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()},
        folder / artifact.WEIGHTS,
    )
    manifest = Manifest(
        name=architecture,
        version="1",
        title=title,
        description=f"{architecture}, served from a bare checkpoint",
        architecture=architecture,
        labels=LABELS,
        preprocess=DigitPreprocess(),
        files={},
    )
    return artifact.write_manifest(folder, manifest)


def remove_shared_prefix(
    tensors: dict[str, Tensor], expected: Collection[str]
) -> dict[str, Tensor]:
    """Remove a prefix that all names share, if that yields the `expected` names."""
    expected = set(expected)
    if expected and tensors and tensors.keys() != expected:
        for prefix in _prefixes(next(iter(tensors))):
            if not all(name.startswith(prefix) for name in tensors):
                continue
            if {name.removeprefix(prefix) for name in tensors} == expected:
                return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _prefixes(name: str) -> Iterator[str]:
    """Yield the prefixes of a name: `a.b.weight` -> `a.`, `a.b.`."""
    return (name[: i + 1] for i, letter in enumerate(name) if letter == ".")


def _require_digits(network: nn.Module, architecture: str) -> None:
    """Raise ArtifactError unless the network classifies digits: others lack preprocessing."""
    blank = torch.zeros(1, *DigitPreprocess().input_shape)
    try:
        with torch.inference_mode():
            shape = tuple(network.eval()(blank).shape)
    except RuntimeError:
        shape = ()
    if shape != (1, len(LABELS)):
        raise ArtifactError(
            f"{architecture} does not classify digits; package its checkpoint as a model folder, "
            "which contains the preprocessing and the labels"
        )
