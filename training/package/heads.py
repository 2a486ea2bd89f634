"""Heads that replace the last layer of an architecture: `--head "linear 256, relu, linear"`."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from torch import Tensor, nn

from backend.inference.models.checkpoint import select_tensors
from training.package.model_spec import PackageError

# Layers without weights. Batch and layer normalization and linear layers have sizes.
_PLAIN: Final[dict[str, Callable[[], nn.Module]]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leakyrelu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "hardswish": nn.Hardswish,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "dropout": nn.Dropout,
    "flatten": lambda: nn.Flatten(1),
    "identity": nn.Identity,
    "softmax": lambda: nn.Softmax(1),
    "logsoftmax": lambda: nn.LogSoftmax(1),
}
_SIZED: Final = ("linear", "batchnorm", "layernorm")
_LAYER: Final = re.compile(r"([a-z][a-z0-9_]*)(?:\s+(\d{1,6}))?")
_OWN_WEIGHT: Final = re.compile(r"\d+\.weight")
_MAX_SHOWN: Final = 8


def fit_head(
    network: nn.Module, head: str | None, tensors: dict[str, Tensor], architecture: str
) -> dict[str, Tensor]:
    """Give `network` the last layers `head`, if any; return the tensors as the network names them.

    Raise PackageError if the checkpoint has other last layers, with the --head that may fit.
    """
    if head:
        tensors = replace_head(network, head, tensors)
    elif suggestion := suggest(network, tensors):
        raise PackageError(
            f"the last layers of the checkpoint are not those of {architecture}: "
            f"{describe_head(network, tensors)}. Pass the layers in the order of your code, for "
            f'instance --head "{suggestion}"; layers without weights are a guess'
        )
    network.eval()
    return select_tensors(tensors, network.state_dict())


def replace_head(network: nn.Module, head: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replace the last layers of `network` by the layers of `head`, whose weights are `tensors`.

    The attribute is the one for which the names of the checkpoint match. The sizes are those of the
    checkpoint; a number after `linear` is compared with it. Return the tensors as the network names
    them. Raise PackageError if no attribute matches.
    """
    layers = _parse(head)
    reasons = []
    for attribute in _attributes(network):
        before = network.get_submodule(attribute)
        prefix = _find_prefix(network, attribute, tensors)
        try:
            new = _build(layers, f"{prefix}{attribute}.", tensors)
        except PackageError as error:
            reasons.append(str(error))
            continue
        network.set_submodule(attribute, new)
        selected = select_tensors(tensors, network.state_dict())
        if set(selected) == set(network.state_dict()):
            return selected
        network.set_submodule(attribute, before)
    raise PackageError(
        f"--head {head!r} does not match the checkpoint: {reasons[0] if reasons else 'other names'}"
        f"; {describe_head(network, tensors)}"
    )


def describe_head(network: nn.Module, tensors: dict[str, Tensor]) -> str:
    """Return the tensors of a checkpoint that `network` has not, and what to pass as --head."""
    known = network.state_dict()
    foreign = {
        key: tensor
        for key, tensor in tensors.items()
        if not any(key.endswith(name) and known[name].shape == tensor.shape for name in known)
    }
    shown = ", ".join(f"{key} {tuple(t.shape)}" for key, t in list(foreign.items())[:_MAX_SHOWN])
    return f"its last tensors are {shown}" if foreign else "all of its tensors are the network's"


def suggest(network: nn.Module, tensors: dict[str, Tensor]) -> str | None:
    """Return a --head for a checkpoint whose last layers are a Sequential; None for others.

    Layers without weights are not in a checkpoint: they are guessed, and the user decides.
    """
    if _fits(network, tensors):
        return None
    for attribute in _attributes(network):
        pattern = re.compile(rf"(?:.*\.)?{re.escape(attribute)}\.(\d+)\.weight")
        found = {int(m[1]): tensors[key] for key in tensors if (m := pattern.fullmatch(key))}
        if not found or not any(tensor.ndim == 2 for tensor in found.values()):
            continue
        known = network.get_submodule(attribute).state_dict()
        own = {int(key.split(".")[0]): t for key, t in known.items() if _OWN_WEIGHT.fullmatch(key)}
        if set(own) == set(found) and all(
            own[index].shape == found[index].shape for index in sorted(own)[:-1]
        ):
            continue
        last = max(found)
        layers = []
        for index in range(last + 1):
            if index in found:
                is_linear = found[index].ndim == 2
                size = f" {len(found[index])}" if is_linear and index < last else ""
                layers.append(f"linear{size}" if is_linear else "batchnorm")
            else:
                layers.append("relu" if index and index - 1 in found else "dropout")
        return ", ".join(layers)
    return None


def _fits(network: nn.Module, tensors: dict[str, Tensor]) -> bool:
    known = network.state_dict()
    selected = select_tensors(tensors, known)
    return all(
        name in selected and selected[name].shape == tensor.shape
        for name, tensor in known.items()
        if tensor.ndim  # counters may be missing
    )


def _parse(head: str) -> list[tuple[str, int | None]]:
    layers = []
    for text in head.lower().split(","):
        match = _LAYER.fullmatch(text.strip())
        name = match[1].replace("_", "").removesuffix("1d") if match else ""
        if match is None or name not in (*_PLAIN, *_SIZED):
            raise PackageError(
                f"--head: {text.strip()!r} is not a layer; known are {', '.join(_SIZED)}, "
                f"{', '.join(_PLAIN)}, separated by commas, such as 'linear 256, relu, linear'"
            )
        layers.append((name, int(match[2]) if match[2] else None))
    return layers


def _attributes(network: nn.Module) -> Iterator[str]:
    """Yield the paths of the modules that hold the last weights, the outermost first."""
    last = list(network.state_dict())[-1]
    parts = last.split(".")[:-1]
    for length in range(1, len(parts) + 1):
        yield ".".join(parts[:length])


def _find_prefix(network: nn.Module, attribute: str, tensors: dict[str, Tensor]) -> str:
    """Return what stands before the network's names in the checkpoint, such as `model.`."""
    first = next(name for name in network.state_dict() if not name.startswith(attribute))
    ends = [key for key in tensors if key == first or key.endswith(f".{first}")]
    return min(ends, key=len, default=first).removesuffix(first)


def _build(
    layers: list[tuple[str, int | None]], prefix: str, tensors: dict[str, Tensor]
) -> nn.Sequential:
    modules: list[nn.Module] = []
    for index, (name, size) in enumerate(layers):
        if name in _PLAIN:
            modules.append(_PLAIN[name]())
            continue
        key = f"{prefix}{index}.weight"
        weight = tensors.get(key)
        if weight is None:
            raise PackageError(f"layer {index + 1} is {name}, but there is no tensor {key}")
        modules.append(_build_sized(name, key, weight, f"{prefix}{index}.bias" in tensors))
        if size is not None and size != len(weight):
            raise PackageError(f"layer {index + 1} has {len(weight)} outputs, not {size}")
    return nn.Sequential(*modules)


def _build_sized(name: str, key: str, weight: Tensor, has_bias: bool) -> nn.Module:
    if name == "linear" and weight.ndim == 2:
        return nn.Linear(weight.shape[1], weight.shape[0], bias=has_bias)
    if name == "batchnorm" and weight.ndim == 1:
        return nn.BatchNorm1d(len(weight))
    if name == "layernorm" and weight.ndim == 1:
        return nn.LayerNorm(len(weight))
    raise PackageError(f"{key} of shape {tuple(weight.shape)} is not a {name} layer")


def is_probability(network: nn.Module) -> bool:
    """Return whether the last module of a network is a softmax or a sigmoid."""
    last = [module for module in network.modules() if not list(module.children())][-1]
    return isinstance(last, nn.Softmax | nn.Sigmoid)
