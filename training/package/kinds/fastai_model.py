"""Weights that fastai's `learn.save` wrote: the body of a torchvision network and fastai's head.

Source of the layers: https://github.com/fastai/fastai, fastai/vision/learner.py, `create_body` and
`create_head`.
"""

import re
from typing import Final

import torch
from torch import Tensor, nn

from backend.inference.models import networks
from backend.inference.preprocessing.photos import PhotoPreprocess
from training.package.model_spec import PackageError

_FIRST: Final = 2  # layer of the head with weights, after the pooling and the flattening
_NAME: Final = re.compile(r"[01]\.\d+\.")
# Its vision_learner normalizes for ImageNet and crops the center of an image without a margin.
SPEC: Final = PhotoPreprocess(resize=224, crop=(224, 224))


class _ConcatPool(nn.Module):
    """The maximum and the mean of each channel, (N, C, H, W) -> (N, 2C): `AdaptiveConcatPool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)


class _AveragePool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def is_fastai(tensors: dict[str, Tensor]) -> bool:
    """Return whether all names are those of a Sequential of a body and a head."""
    return bool(tensors) and all(map(_NAME.match, tensors)) and "1.2.weight" in tensors


def build_network(architecture: str, tensors: dict[str, Tensor]) -> nn.Module:
    """Return the network of `vision_learner(dls, ARCHITECTURE)`, without its weights.

    Raise PackageError if the body is not that of the architecture, or the head is not fastai's.
    """
    children = list(networks.build(architecture).children())
    expected = {name.removeprefix("0.") for name in tensors if name.startswith("0.")}
    for count in range(1, len(children) + 1):
        body = nn.Sequential(*children[:count])
        if set(body.state_dict()) == expected:
            return nn.Sequential(body, _build_head(_count_channels(body), tensors))
    raise PackageError(
        f"the checkpoint is one of fastai, but its body is not that of {architecture}; pass the "
        "architecture that vision_learner was given"
    )


def _count_channels(body: nn.Module) -> int:
    with torch.inference_mode():
        return int(body.eval()(torch.zeros(1, 3, 64, 64)).shape[1])


def _build_head(channels: int, tensors: dict[str, Tensor]) -> nn.Sequential:
    """Return the pooling, and groups of normalization, dropout, a linear layer and a ReLU."""
    weights = {
        int(name.split(".")[1]): tensor
        for name, tensor in tensors.items()
        if name.startswith("1.") and name.endswith(".weight")
    }
    last = max(weights)
    if set(weights) != set(range(_FIRST, last + 1, 2)) or last % 4:
        raise PackageError(
            "the head of the checkpoint is not the one that fastai's vision_learner makes; export "
            "learn.model to ONNX and package the graph"
        )
    width = len(weights[_FIRST])
    pools = {channels: _AveragePool, 2 * channels: _ConcatPool}
    if width not in pools:
        raise PackageError(f"the head of the checkpoint has {width} inputs, not {channels}")
    layers: list[nn.Module] = [pools[width](), nn.Identity()]
    for index in range(_FIRST, last + 1, 4):
        size, linear = len(weights[index]), weights[index + 2]
        has_bias = f"1.{index + 2}.bias" in tensors
        layers += [nn.BatchNorm1d(size), nn.Identity()]
        layers.append(nn.Linear(linear.shape[1], linear.shape[0], bias=has_bias))
        layers += [nn.ReLU()] if index + 2 < last else []
    return nn.Sequential(*layers)
