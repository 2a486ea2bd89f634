"""A checkpoint file: its tensors, read without unpickling, and a model folder made of them."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from backend.inference.errors import ArtifactError, RuntimeMissingError
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact, Manifest
from backend.inference.preprocessing.digits import LABELS, DigitPreprocess

try:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file
    from torch import Tensor, nn

    from backend.inference.models import networks
except ModuleNotFoundError as error:
    raise RuntimeMissingError(
        f"{error.name} is not installed, and a bare checkpoint needs it; run "
        "`pip install -r requirements_backend.txt`, or package the checkpoint as a model folder"
    ) from error

NESTED = ("state_dict", "model_state_dict")


def read_state_dict(path: Path, expected: Collection[str] = ()) -> dict[str, Tensor]:
    """Read tensors by name, from `.safetensors` or torch's own format; unpickles nothing else.

    A state dict nested under `state_dict` (as Lightning does) or `model_state_dict`, and names that
    begin with `module.` (from DataParallel), are understood. A prefix that all names share, such as
    Lightning's `model.`, is taken off where that gives the `expected` names. Raises ArtifactError
    otherwise.
    """
    found: object
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, ValueError, RuntimeError, LookupError) as error:
        raise ArtifactError(f"{path} cannot be read as a checkpoint") from error
    except Exception as error:  # pickle.UnpicklingError: something other than tensors
        raise ArtifactError(
            f"{path} holds more than tensors and is not loaded; save model.state_dict() instead"
        ) from error
    for key in NESTED:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items()
    ):
        raise ArtifactError(f"{path} holds no state dict; save model.state_dict()")
    tensors = {key.removeprefix("module."): value for key, value in found.items()}
    return without_shared_prefix(tensors, expected)


def write_folder(path: Path, architecture: str, folder: Path, title: str) -> Artifact:
    """Make `folder` a model folder, without ONNX, of the digit classifier in the checkpoint `path`.

    Raises ArtifactError where the architecture is unknown or does not read digits, or where the
    checkpoint is unreadable, does not fit or holds weights that are not finite.
    """
    network = networks.build(architecture)
    tensors = read_state_dict(path, network.state_dict())
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ArtifactError(f"{path} does not fit the architecture {architecture}") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise ArtifactError(f"{path} holds weights that are not finite")
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


def without_shared_prefix(
    tensors: dict[str, Tensor], expected: Collection[str]
) -> dict[str, Tensor]:
    """Take off a prefix that all names share, where that gives the `expected` names."""
    expected = set(expected)
    if expected and tensors and tensors.keys() != expected:
        for prefix in _prefixes(next(iter(tensors))):
            if {name.removeprefix(prefix) for name in _starting(tensors, prefix)} == expected:
                return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _prefixes(name: str) -> Iterator[str]:
    """`a.b.weight` -> `a.`, `a.b.`"""
    return (name[: at + 1] for at, letter in enumerate(name) if letter == ".")


def _starting(tensors: Mapping[str, Tensor], prefix: str) -> Collection[str]:
    """The names, where all of them start with `prefix`; else none."""
    return tensors if all(name.startswith(prefix) for name in tensors) else ()


def _require_digits(network: nn.Module, architecture: str) -> None:
    """Our own architectures read digits; what to do to a picture for others, nobody has said."""
    blank = torch.zeros(1, *DigitPreprocess().input_shape)
    try:
        with torch.inference_mode():
            shape = tuple(network.eval()(blank).shape)
    except RuntimeError:
        shape = ()
    if shape != (1, len(LABELS)):
        raise ArtifactError(
            f"{architecture} does not read digits; package its checkpoint as a model folder, "
            "which says how pictures are prepared and what the labels are"
        )
