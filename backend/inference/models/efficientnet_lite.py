"""EfficientNet-Lite, a family of small image classifiers for CPUs.

Source: Tan, Le 2019 (https://arxiv.org/abs/1905.11946), without squeeze and excitation and with
ReLU6, as in `efficientnet/lite` of https://github.com/tensorflow/tpu. The networks are for
inference: batch normalization is part of the convolutions' weights.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

STEM_CHANNELS = 32
FEATURES = 1280


@dataclass(frozen=True)
class Stage:
    """Blocks of one resolution, of the unscaled network; `stride` is that of the first block."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(blocks=1, kernel=3, stride=1, expansion=1, channels=16),
    Stage(blocks=2, kernel=3, stride=2, expansion=6, channels=24),
    Stage(blocks=2, kernel=5, stride=2, expansion=6, channels=40),
    Stage(blocks=3, kernel=3, stride=2, expansion=6, channels=80),
    Stage(blocks=3, kernel=5, stride=1, expansion=6, channels=112),
    Stage(blocks=4, kernel=5, stride=2, expansion=6, channels=192),
    Stage(blocks=1, kernel=3, stride=1, expansion=6, channels=320),
)


@dataclass(frozen=True)
class Scale:
    """Multipliers of channels and blocks, and the side of the input in pixels."""

    width: float
    depth: float
    side: int


SCALES = {
    "efficientnet-lite0": Scale(width=1.0, depth=1.0, side=224),
    "efficientnet-lite1": Scale(width=1.0, depth=1.1, side=240),
    "efficientnet-lite2": Scale(width=1.1, depth=1.2, side=260),
}


class EfficientNetLite(nn.Module):
    """Maps (N, 3, side, side), values in about [-1, 1], to logits (N, classes)."""

    def __init__(self, scale: Scale, classes: int = 1000) -> None:
        super().__init__()
        side = scale.side
        layers = [_convolution(3, STEM_CHANNELS, 3, 2, side), nn.ReLU6()]
        side = math.ceil(side / 2)
        widths = [STEM_CHANNELS, *(_scale_channels(each.channels, scale.width) for each in STAGES)]
        for stage, (channels, filters) in zip(STAGES, pairwise(widths), strict=True):
            # The first and the last stage keep their depth, the stem and the features their width.
            is_fixed = stage in (STAGES[0], STAGES[-1])
            count = stage.blocks if is_fixed else math.ceil(stage.blocks * scale.depth)
            layers.append(_Block(channels, filters, stage, side))
            side = math.ceil(side / stage.stride)
            layers += [_Block(filters, filters, stage, side) for _ in range(count - 1)]
        self.features = nn.Sequential(
            *layers, _convolution(widths[-1], FEATURES, 1, 1, side), nn.ReLU6()
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(FEATURES, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.embed(x)))  # type: ignore[no-any-return]

    def embed(self, x: Tensor) -> Tensor:
        """Map inputs to the features (N, 1280), from which the last layer, `classifier`, scores."""
        return torch.flatten(self.pool(self.features(x)), 1)


class _Block(nn.Module):
    """Inverted bottleneck: expansion, depthwise convolution and projection."""

    def __init__(self, channels: int, filters: int, stage: Stage, side: int) -> None:
        super().__init__()
        # Only the first block of a stage, which has another number of channels, has a stride.
        self.is_residual = channels == filters
        stride = 1 if self.is_residual else stage.stride
        inner = channels * stage.expansion
        expand = [_convolution(channels, inner, 1, 1, side), nn.ReLU6()]
        self.layers = nn.Sequential(
            *(expand if stage.expansion > 1 else ()),
            _convolution(inner, inner, stage.kernel, stride, side, groups=inner),
            nn.ReLU6(),
            _convolution(inner, filters, 1, 1, side),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return x + result if self.is_residual else result


def _convolution(
    channels: int, filters: int, kernel: int, stride: int, side: int, groups: int = 1
) -> nn.Module:
    """Return a convolution of inputs with `side` pixels, padded as by TensorFlow's SAME.

    An odd number of padding pixels has one more on the right and at the bottom.
    """
    total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
    before, after = total // 2, total - total // 2
    if before == after:
        return nn.Conv2d(channels, filters, kernel, stride, before, groups=groups)
    padding = nn.ZeroPad2d((before, after, before, after))
    return nn.Sequential(padding, nn.Conv2d(channels, filters, kernel, stride, groups=groups))


def _scale_channels(channels: int, width: float) -> int:
    """Return the scaled number of channels, a multiple of 8 that is at least 90% of it."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * scaled else rounded + 8
