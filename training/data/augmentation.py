"""Random affine and elastic distortions of batches of digit crops."""

import torch
from torch import Tensor
from torch.nn import functional

ELASTIC_GRID_SIZE = 5  # control points per side of the elastic distortion (Simard et al. 2003)


def augment(crops: Tensor, generator: torch.Generator) -> Tensor:
    """Return distorted copies of `crops`, float32 (N, 1, H, W) in [0, 1], of the same shape.

    Rotates by up to 10 degrees, slants, scales each axis by up to 15%, shifts by up to 2 pixels
    and bends by about 1 pixel. One eighth of the crops is returned unchanged.
    """
    count, _, height, width = crops.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator) * (high - low) + low

    angle, slant = uniform(-0.18, 0.18), uniform(-0.2, 0.2)
    scale_x, scale_y = uniform(0.87, 1.15), uniform(0.87, 1.15)
    cos, sin = angle.cos(), angle.sin()
    affine = torch.empty(count, 2, 3)
    affine[:, 0, 0] = cos * scale_x
    affine[:, 0, 1] = (sin + slant * cos) * scale_x
    affine[:, 1, 0] = -sin * scale_y
    affine[:, 1, 1] = (cos - slant * sin) * scale_y
    affine[:, :, 2] = uniform(-2, 2, 2) * (2 / width)
    is_unchanged = uniform(0, 1) < 0.125
    affine[is_unchanged] = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    grid = functional.affine_grid(affine, [count, 1, height, width], align_corners=False)
    shape = (count, 2, ELASTIC_GRID_SIZE, ELASTIC_GRID_SIZE)
    offsets = torch.randn(shape, generator=generator) * (2 / width)
    offsets[is_unchanged] = 0
    elastic = functional.interpolate(offsets, (height, width), mode="bicubic", align_corners=True)
    grid = grid + elastic.permute(0, 2, 3, 1)
    return functional.grid_sample(crops, grid, mode="bilinear", align_corners=False)
