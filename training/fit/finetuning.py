"""Training of all layers of a photo network on labeled photographs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from backend.inference.models import torchvision_compat
from backend.inference.models.efficientnet_lite import EfficientNetLite
from backend.inference.preprocessing.photos import PhotoPreprocess, normalize_photo
from backend.inference.types import Floats

BATCH = 32
WARM_UP = 0.1  # share of the steps
WEIGHT_DECAY = 0.01
WORKERS = 8  # processes that load images, with a GPU


@dataclass(frozen=True)
class Schedule:
    """`rate` is the highest learning rate, which decays to 0 over `epochs` passes."""

    epochs: int
    rate: float
    seed: int = 0


class Photographs(Dataset[tuple[Tensor, int]]):
    """RGB images and their class indices, randomly cropped, mirrored and recolored at each access.

    The images are little larger than the crop of `spec`.
    """

    def __init__(
        self, images: Sequence[Image.Image], truth: NDArray[np.intp], spec: PhotoPreprocess
    ) -> None:
        self._images, self._truth, self._spec = images, truth, spec
        transforms: Any = torchvision_compat.load("transforms")
        self._augment: Any = transforms.Compose(
            [
                transforms.RandomResizedCrop(
                    spec.crop,
                    scale=(0.5, 1.0),
                    interpolation=transforms.InterpolationMode.BICUBIC,
                ),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
            ]
        )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        crop = self._augment(self._images[index])
        return torch.from_numpy(normalize_photo(crop, self._spec)), int(self._truth[index])


def find_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def embed(network: EfficientNetLite, rows: Floats, device: torch.device) -> Floats:
    """Return the features (N, D) of inputs (N, *input)."""
    network = network.to(device).eval()
    with torch.inference_mode():
        parts = [
            network.embed(part.to(device)).float().cpu().numpy()
            for part in tqdm(
                torch.split(torch.from_numpy(rows), BATCH), desc="features", disable=None
            )
        ]
    return np.concatenate(parts)


def replace_classifier(
    network: EfficientNetLite, weight: Floats, bias: Floats, norm: float
) -> None:
    """Replace the last layer by a head for L2-normalized features, whose mean norm is `norm`.

    Training from a head instead of random weights distorts the features less (Kumar et al. 2022).
    """
    layer = nn.Linear(weight.shape[1], len(weight))
    layer.weight.data = torch.from_numpy(weight / np.float32(norm))
    layer.bias.data = torch.from_numpy(bias)
    network.classifier = layer


def finetune(
    network: EfficientNetLite, data: Photographs, schedule: Schedule, device: torch.device
) -> list[float]:
    """Train all layers with AdamW and a one-cycle schedule; return the mean loss of each epoch."""
    torch.manual_seed(schedule.seed)
    has_gpu = device.type == "cuda"
    loader = DataLoader(
        data,
        BATCH,
        shuffle=True,
        num_workers=min(WORKERS, torch.get_num_threads()) if has_gpu else 0,
        pin_memory=has_gpu,
        persistent_workers=has_gpu,
    )
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = AdamW(network.parameters(), schedule.rate, weight_decay=WEIGHT_DECAY)
    steps = len(loader) * schedule.epochs
    rates = OneCycleLR(optimizer, schedule.rate, total_steps=steps, pct_start=WARM_UP)
    losses = []
    network.train()
    for epoch in range(1, schedule.epochs + 1):
        total = 0.0
        for rows, truth in tqdm(loader, desc=f"epoch {epoch}", disable=None):
            inputs = rows.to(device, memory_format=torch.channels_last, non_blocking=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=has_gpu):
                logits = network(inputs)
            loss = nn.functional.cross_entropy(logits.float(), truth.to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rates.step()
            total += loss.item() * len(truth)
        losses.append(total / len(data))
        print(f"epoch {epoch}: loss {losses[-1]:.4f}", flush=True)
    network.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return losses
