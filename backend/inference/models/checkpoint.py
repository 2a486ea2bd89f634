"""Checkpoint files: reading tensors without unpickling, and conversion to a model folder."""

from collections.abc import Collection
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

# Where training programs nest a state dict, averaged weights first, because they are the result
# of the training: timm, torchvision's references, Lightning, ultralytics and common loops.
NESTED_KEYS = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
)
# What wrappers put before names: DataParallel, `torch.compile`, and averaging.
_WRAPPERS = ("module.", "_orig_mod.")
# Tensors beside the network's own: of SWA and EMA, and of thop's profiler.
_FOREIGN = ("n_averaged", "total_ops", "total_params")
_COUNTER = "num_batches_tracked"  # which torch before 0.4.1 did not save


def read_state_dict(path: Path, expected: Collection[str] = ()) -> dict[str, Tensor]:
    """Read tensors by name from a `.safetensors` file or torch's format, without unpickling.

    Supports state dicts nested under one of NESTED_KEYS or as the only one, and names that begin
    with `module.` (DataParallel) or `_orig_mod.` (`torch.compile`). With the `expected` names, only
    these are returned if all exist after a prefix such as Lightning's `model.`; see
    `select_tensors`. Raise ArtifactError for other files.
    """
    content: object
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, ValueError, RuntimeError, LookupError) as error:
        raise ArtifactError(
            f"{path} cannot be read as a checkpoint; copy or download it again, or save "
            "model.state_dict() again"
        ) from error
    except Exception as error:  # pickle.UnpicklingError: objects other than tensors
        raise ArtifactError(
            f"{path} contains more than tensors and is not loaded; save model.state_dict() instead"
        ) from error
    tensors = _find_state_dict(content)
    if tensors is None:
        several = _list_state_dicts(content)
        if len(several) > 1:
            raise ArtifactError(
                f"{path} contains several state dicts, {', '.join(map(repr, several[:5]))}; save "
                "only that of the classifier"
            )
        raise ArtifactError(f"{path} contains no state dict; save model.state_dict()")
    named = {_unwrap(key): value for key, value in tensors.items()}
    return select_tensors(named, expected)


def _find_state_dict(content: object) -> dict[str, Tensor] | None:
    """Return the state dict in the content of a checkpoint; None if there is none."""
    if not isinstance(content, dict):
        return None
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return content if all(isinstance(key, str) for key in content) else None
    nested = (_find_state_dict(content.get(key)) for key in NESTED_KEYS)
    if found := next((tensors for tensors in nested if tensors), None):
        return found
    others: list[dict[str, Tensor]] = [v for v in content.values() if _is_state_dict(v)]
    if len(others) == 1:
        return others[0]
    # A state dict may have other values beside the tensors, such as the number of the epoch.
    return None if others else _select_weights(content)


def _list_state_dicts(content: object) -> list[object]:
    """Return the keys of the state dicts in the content of a checkpoint."""
    items = content.items() if isinstance(content, dict) else ()
    return [key for key, value in items if _is_state_dict(value)]


def _is_state_dict(value: object) -> bool:
    return isinstance(value, dict) and len(_select_weights(value) or ()) == len(value) > 0


def _select_weights(content: object) -> dict[str, Tensor] | None:
    """Return the tensors of a dictionary whose names are those of weights; None if it has none."""
    if not isinstance(content, dict):
        return None
    return {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and "." in name and isinstance(value, Tensor)
    } or None


def _unwrap(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    return name


def write_folder(path: Path, architecture: str, folder: Path, title: str) -> Artifact:
    """Write the digit classifier in the checkpoint `path` to `folder`, a model folder without ONNX.

    Raise ArtifactError if the architecture is unknown or does not classify digits, or if the
    checkpoint is unreadable, does not fit the architecture or has weights that are not finite.
    """
    network = networks.build(architecture)
    tensors = read_state_dict(path, network.state_dict())
    try:
        networks.load_tensors(network, tensors)
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


def select_tensors(tensors: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """Return the tensors of a network with the `expected` names.

    They may share a prefix. Beside a prefix of one attribute, such as Lightning's `model.`, there
    may be other tensors, such as those of a loss. Return all `tensors` unless exactly the expected
    names follow a prefix: a network with other layers is another network.
    """
    tensors = {k: v for k, v in tensors.items() if not k.endswith(_FOREIGN)}
    required = {name for name in expected if not name.endswith(_COUNTER)}
    if not required:
        return tensors
    first = min(required)
    prefixes = (name.removesuffix(first) for name in tensors if name.endswith(first))
    for prefix in sorted(prefixes, key=len):
        names = {name.removeprefix(prefix) for name in tensors if name.startswith(prefix)}
        is_attribute = len([part for part in prefix.split(".") if f"{part}." not in _WRAPPERS]) <= 2
        if len(names) < len(tensors) and not is_attribute:
            continue
        if {name for name in names if not name.endswith(_COUNTER)} == required:
            return {name: tensors[prefix + name] for name in names}
    return tensors


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
