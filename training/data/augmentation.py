"""Bend, turn, slant, stretch and shift batches of fields, so that no epoch sees one twice."""

import torch
from torch import Tensor
from torch.nn import functional

KNOTS = 5  # the elastic bend is drawn on so many points a side (after Simard et al. 2003)


def augment(fields: Tensor, generator: torch.Generator) -> Tensor:
    """Return distorted copies of `fields`, float32 (N, 1, H, W) in [0, 1], of the same shape.

    Turns to 10 degrees, slants, stretches by 15 % in each direction, shifts by 2 pixels and
    bends by about one pixel; an eighth of the fields stays as it is.
    """
    count, _, height, width = fields.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator) * (high - low) + low

    turn, slant = uniform(-0.18, 0.18), uniform(-0.2, 0.2)
    wide, tall = uniform(0.87, 1.15), uniform(0.87, 1.15)
    cos, sin = turn.cos(), turn.sin()
    affine = torch.empty(count, 2, 3)
    affine[:, 0, 0] = cos * wide
    affine[:, 0, 1] = (sin + slant * cos) * wide
    affine[:, 1, 0] = -sin * tall
    affine[:, 1, 1] = (cos - slant * sin) * tall
    affine[:, :, 2] = uniform(-2, 2, 2) * (2 / width)
    calm = uniform(0, 1) < 0.125
    affine[calm] = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    grid = functional.affine_grid(affine, [count, 1, height, width], align_corners=False)
    bends = torch.randn(count, 2, KNOTS, KNOTS, generator=generator) * (1.0 * 2 / width)
    bends[calm] = 0
    bend = functional.interpolate(bends, (height, width), mode="bicubic", align_corners=True)
    return functional.grid_sample(
        fields, grid + bend.permute(0, 2, 3, 1), mode="bilinear", align_corners=False
    )
