"""Fit a network to labelled fields, with augmentation and averaged weights."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from backend.inference.digits import DigitPreprocess, normalize
from training.augment import augment
from training.data import NOTHING, Digits
from training.sources import Source

CLASSES = 10


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn: `rate` is the peak of a one-cycle schedule (Smith 2018)."""

    epochs: int = 16
    batch: int = 256
    rate: float = 3e-3
    decay: float = 1e-4
    averaging: float = 0.998  # of the weights, per step; steadier than the last epoch's own
    smoothing: float = 0.02
    seed: int = 20
    bfloat16: bool = False  # three times as fast where the CPU has avx512_bf16, slower elsewhere


def fit(
    network: nn.Module,
    sources: list[Source],
    spec: DigitPreprocess,
    schedule: Schedule,
    after_epoch: Callable[[int, nn.Module], None],
) -> nn.Module:
    """Train `network` and return it with averaged weights; `after_epoch` sees each average."""
    generator = torch.Generator().manual_seed(schedule.seed)
    rng = np.random.default_rng(schedule.seed)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    blend = get_ema_multi_avg_fn(schedule.averaging)  # type: ignore[no-untyped-call]
    average = AveragedModel(network, multi_avg_fn=blend, use_buffers=True)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=schedule.rate, weight_decay=schedule.decay
    )
    steps = math.ceil(_seen_in_epoch(sources) / schedule.batch)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.rate, total_steps=steps * schedule.epochs, pct_start=0.25
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=schedule.smoothing)
    targets = torch.cat((torch.eye(CLASSES), torch.full((1, CLASSES), 1 / CLASSES)))
    for epoch in range(1, schedule.epochs + 1):
        network.train()
        batches = tqdm(_batches(sources, schedule.batch, rng), total=steps, desc=f"epoch {epoch}")
        for pixels, labels in batches:
            fields = torch.from_numpy(pixels).float().div_(255).unsqueeze_(1)
            inputs = (augment(fields, generator) - spec.mean) / spec.std
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bfloat16):
                outputs = network(inputs)
            loss = loss_of(outputs.float(), targets[labels])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
            average.update_parameters(network)
            batches.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        after_epoch(epoch, average.module)
    trained: nn.Module = average.module
    return trained.eval()


def accuracy(network: nn.Module, digits: Digits, spec: DigitPreprocess) -> float:
    """Share of `digits` whose label is the network's first choice."""
    inputs = torch.from_numpy(normalize(digits.pixels, spec))
    network.eval()
    with torch.inference_mode():
        chosen = torch.cat([network(part).argmax(1) for part in torch.split(inputs, 500)])
    return float((chosen.numpy() == digits.labels).mean())


def _seen_in_epoch(sources: list[Source]) -> int:
    return sum(round(source.share * len(source.digits)) for source in sources)


def _batches(
    sources: list[Source], size: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.uint8], Tensor]]:
    """One epoch: each source's share, drawn anew and shuffled together."""
    drawn = [
        rng.choice(len(source.digits), round(source.share * len(source.digits)), replace=False)
        for source in sources
    ]
    pixels = np.concatenate([s.digits.pixels[d] for s, d in zip(sources, drawn, strict=True)])
    labels = np.concatenate([s.digits.labels[d] for s, d in zip(sources, drawn, strict=True)])
    if labels.max() > NOTHING:
        raise ValueError("labels are 0 to 9, or 10 for nothing")
    order = rng.permutation(len(labels))
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        yield pixels[batch], torch.from_numpy(labels[batch].astype(np.int64))
