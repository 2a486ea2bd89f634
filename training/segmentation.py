"""Train the segmentation network, which finds the strokes of a digit that is not on plain paper.

    .venv/bin/python -m training.segmentation --data DIR

It writes `backend/inference/preprocessing/scene.onnx`. DIR contains MNIST's four .gz files;
without --data they are downloaded. It takes about an hour on one core.
"""

import argparse
import multiprocessing
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from backend.inference.preprocessing.scene import NETWORK
from training.data.digits import DataError, Digits, find_mnist, read_mnist, read_uci
from training.data.scenes import Scene, draw_scene
from training.data.sources import MNIST_VALIDATION_COUNT
from training.package.export import remove_metadata

SIDE = 96  # of the scenes, in pixels
STEP = 32  # the sides of an image are multiples of it
PATCH = 4  # side of the squares of pixels that the first layer turns into features
CHANNELS = (32, 48, 64, 64)  # at 1/4, 1/8, 1/16 and 1/32 of the resolution
CHUNK_SIZE = 250  # scenes per parallel task
NO_DIGIT, DIGIT, NO_MASK = range(3)  # labels; without a mask, any strokes may be found
BLANK_WEIGHT = 4.0  # of the pixels of scenes without a digit
AVERAGING = 0.998  # decay of the weight average per step


class SegmentationNetwork(nn.Module):
    """A U-Net (Ronneberger et al. 2015) of depthwise separable convolutions.

    It maps gray levels, uint8 (N, H, W), to the logits of the strokes (N, H, W). H and W are
    multiples of 32.
    """

    def __init__(self) -> None:
        super().__init__()
        first, *others = CHANNELS
        self.stem = nn.Sequential(
            nn.Conv2d(1, first, PATCH, PATCH), nn.ReLU(), _separable(first, first)
        )
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        self.merge = nn.ModuleList()
        for width, deeper in zip(CHANNELS, others, strict=False):
            self.down.append(
                nn.Sequential(_separable(width, deeper, stride=2), _separable(deeper, deeper))
            )
            self.up.append(nn.Conv2d(deeper, width, 1))
            self.merge.append(_separable(width, width))
        self.refine = _separable(first, first)
        self.head = nn.Conv2d(first, PATCH * PATCH, 1)

    def forward(self, levels: Tensor) -> Tensor:
        """Return the logits of the strokes (N, H, W)."""
        pixels = levels.unsqueeze(1).float()
        mean = pixels.mean((2, 3), keepdim=True)
        deviation = (pixels - mean).square().mean((2, 3), keepdim=True).sqrt()
        features = self.stem((pixels - mean) / (deviation + 2))
        scales = [features]
        for down in self.down:
            scales.append(down(scales[-1]))
        features = scales[-1]
        for up, merge, skipped in zip(
            reversed(self.up), reversed(self.merge), reversed(scales[:-1]), strict=True
        ):
            features = merge(skipped + functional.interpolate(up(features), scale_factor=2))
        return functional.pixel_shuffle(self.head(self.refine(features)), PATCH).squeeze(1)


class ExportedNetwork(nn.Module):
    """The network as it is stored: levels to strokes, both uint8 (N, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, levels: Tensor) -> Tensor:
        """Return the amount of strokes, 0-255."""
        return (torch.sigmoid(self.network(levels)) * 255).to(torch.uint8)


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


Scenes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]  # images, masks, labels


def render_scenes(digits: tuple[Digits, ...], count: int, seed: int, workers: int) -> Scenes:
    """Return scenes: images and masks, uint8 (N, SIDE, SIDE), and labels (N,)."""
    global _digits  # inherited by the forked processes
    _digits = digits
    tasks = [(seed, start) for start in range(0, count, CHUNK_SIZE)]
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        chunks = list(tqdm(pool.imap(_render_chunk, tasks), total=len(tasks), desc="rendering"))
    images, masks, labels = (np.concatenate(each) for each in zip(*chunks, strict=True))
    return images, masks, labels


_digits: tuple[Digits, ...] = ()


def _render_chunk(task: tuple[int, int]) -> Scenes:
    rng = np.random.default_rng(task)
    scenes = [draw_scene(_digits, rng) for _ in range(CHUNK_SIZE)]

    def reduce(values: NDArray[np.float32]) -> NDArray[np.uint8]:
        image = Image.fromarray(np.rint(values).astype(np.uint8))
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))

    images = np.stack([reduce(scene.image) for scene in scenes])
    blank = np.zeros((SIDE, SIDE), dtype=np.uint8)
    masks = [blank if scene.mask is None else reduce(255 * scene.mask) for scene in scenes]
    return images, np.stack(masks), np.array([_label(scene) for scene in scenes], dtype=np.uint8)


def _label(scene: Scene) -> int:
    if scene.mask is None:
        return NO_MASK
    return DIGIT if scene.mask.any() else NO_DIGIT


def augment(images: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return mirrored, turned, scaled, inverted copies of images and masks, float (N, H, W)."""
    count = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator) * (high - low) + low

    def flip() -> Tensor:
        return torch.randint(2, (count,), generator=generator) * 2.0 - 1

    theta = torch.zeros(count, 2, 3)
    turn = uniform(-0.15, 0.15)
    scale_x, scale_y = 2 ** uniform(-0.35, 0.25), 2 ** uniform(-0.35, 0.25)
    theta[:, 0, 0], theta[:, 1, 1] = flip() * scale_x, flip() * scale_y
    theta[:, 0, 1], theta[:, 1, 0] = turn * scale_x, -turn * scale_y
    theta[:, :, 2] = uniform(-0.15, 0.15, 2)
    grid = functional.affine_grid(theta, [count, 1, SIDE, SIDE], align_corners=False)

    def sample(values: Tensor, padding: str) -> Tensor:
        moved = functional.grid_sample(
            values[:, None], grid, padding_mode=padding, align_corners=False
        )
        return moved[:, 0]

    images, masks = sample(images, "reflection"), sample(masks, "reflection")
    inverted = (torch.rand(count, generator=generator) < 0.2)[:, None, None]
    images = torch.where(inverted, 255 - images, images)
    noise = torch.randn(images.shape, generator=generator) * uniform(0, 4)[:, None, None]
    return (images + noise).clamp(0, 255), masks


def train(
    scenes: Scenes, validation: Scenes, epochs: int, batch: int = 64, rate: float = 4e-3
) -> nn.Module:
    """Return a network with averaged weights, trained with AdamW and a one-cycle schedule."""
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    network = SegmentationNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = torch.optim.swa_utils.AveragedModel(
        network,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGING),  # type: ignore[no-untyped-call]
        use_buffers=True,
    )
    images, masks, labels = (torch.from_numpy(each) for each in scenes)
    steps = len(images) // batch
    optimizer = AdamW(network.parameters(), rate, weight_decay=1e-4)
    schedule = OneCycleLR(optimizer, rate, total_steps=steps * epochs, pct_start=0.15)
    for epoch in range(1, epochs + 1):
        network.train()
        total = 0.0
        order = torch.randperm(len(images), generator=generator)
        batches = torch.split(order[: steps * batch], batch)
        for index in tqdm(batches, desc=f"epoch {epoch}", disable=None):
            pixels, targets = augment(images[index].float(), masks[index].float() / 255, generator)
            loss = compute_loss(network(pixels), targets, labels[index])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            total += loss.item()
        report = {"epoch": epoch, "loss": total / steps, **evaluate(average.module, validation)}
        print({key: round(value, 4) for key, value in report.items()}, flush=True)
    return average.module.eval()


def compute_loss(strokes: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of the logits of the strokes: cross-entropy and Dice."""
    has_mask = labels != NO_MASK
    logits, masks = strokes[has_mask], masks[has_mask]
    # Strokes that are found in a photograph would be taken for a digit.
    weights = torch.where(labels[has_mask] == NO_DIGIT, BLANK_WEIGHT, 1.0)[:, None, None]
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, masks, weights)
    return cross_entropy + 0.1 * (1 - _overlap(torch.sigmoid(logits), masks)).mean()


def _overlap(strokes: Tensor, masks: Tensor) -> Tensor:
    """Return the Dice coefficient of strokes and masks, in [0, 1]: (N, H, W) -> (N,)."""
    shared = 2 * (strokes * masks).sum((1, 2)) + 1
    total: Tensor = (strokes.square() + masks.square()).sum((1, 2)) + 1
    return shared / total


def evaluate(network: nn.Module, scenes: Scenes) -> dict[str, float]:
    """Return the mean overlap of strokes and masks with a digit, the share of scenes where it
    exceeds 0.8, and the mean overlap without a digit, which is 1 if no strokes are found.
    """
    network.eval()
    images, masks, labels = (torch.from_numpy(each) for each in scenes)
    with torch.inference_mode():
        overlap = torch.cat(
            [
                _overlap(torch.sigmoid(network(images[index])), masks[index].float() / 255)
                for index in torch.arange(len(images)).tensor_split(-(-len(images) // 250))
            ]
        )
    digits, blank = overlap[labels == DIGIT], overlap[labels == NO_DIGIT]
    return {
        "overlap": digits.mean().item(),
        "good": (digits > 0.8).float().mean().item(),
        "blank": blank.mean().item(),
    }


def export(network: nn.Module, path: Path) -> None:
    """Write the network as an ONNX graph from `levels` to `strokes`."""
    example = torch.zeros(2, SIDE, 2 * SIDE, dtype=torch.uint8)
    count, rows, columns = (torch.export.Dim(name) for name in ("count", "rows", "columns"))
    with warnings.catch_warnings(action="ignore"):  # about the exporter's internals
        torch.onnx.export(
            ExportedNetwork(network).eval(),
            (example,),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["levels"],
            output_names=["strokes"],
            dynamic_shapes=({0: count, 1: STEP * rows, 2: STEP * columns},),
        )
    graph = onnx.load(path)
    remove_metadata(graph)
    onnx.save(graph, path)


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and train the network; exit with a one-line error on failure."""
    parser = argparse.ArgumentParser("python -m training.segmentation")
    option = parser.add_argument
    option("--data", type=Path, help="folder of the MNIST files (default: download)")
    option("--out", type=Path, default=NETWORK, help="the ONNX file to write")
    option("--scenes", type=int, default=60_000, help="number of training scenes")
    option("--epochs", type=int, default=20, help="passes over the scenes")
    option("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    options = parser.parse_args(arguments)
    try:
        mnist = read_mnist(find_mnist(options.data, Path("runs/data")), "train")
    except DataError as error:
        sys.exit(f"error: {error}")
    torch.set_num_threads(options.threads)
    digits = (mnist[:-MNIST_VALIDATION_COUNT], read_uci()[0])
    held_out = (mnist[-MNIST_VALIDATION_COUNT:], read_uci()[1])
    scenes = render_scenes(digits, options.scenes, 1, options.threads)
    validation = render_scenes(held_out, options.scenes // 20, 2, options.threads)
    export(train(scenes, validation, options.epochs), options.out)


if __name__ == "__main__":
    main()
