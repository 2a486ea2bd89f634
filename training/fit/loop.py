"""The training loop: fits a network to digit crops, with augmentation and averaged weights."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from backend.inference.preprocessing.digit_crop import DigitPreprocess, normalize
from backend.inference.types import Floats
from calibration.fit import fit_temperature
from training.data.augmentation import augment
from training.data.digits import NEGATIVE, Digits
from training.data.sources import TrainingSource
from training.fit.checkpoints import Checkpoints, State

EVALUATION_BATCH_SIZE = 500

EpochMetrics = dict[str, float]  # the metrics of one epoch, by name
Sources = list[TrainingSource]


class FitError(Exception):
    """The training diverged; the message says what to do."""


@dataclass(frozen=True)
class Schedule:
    """Optimizer settings and stopping rule: AdamW with one epoch of warm-up.

    Progress is the validation loss of the averaged weights after calibration. If it has not
    fallen by `threshold`, a share of the lowest loss, for more than `patience` epochs, the
    learning rate is multiplied by `factor`. Training stops after `stop_after` epochs without a new
    lowest loss, or after `epochs`.
    """

    epochs: int = 16
    batch: int = 256
    rate: float = 3e-3
    decay: float = 1e-4
    averaging: float = 0.999  # decay of the weight average per step; steadier than the last weights
    smoothing: float = 0.02  # of the labels
    factor: float = 0.3
    patience: int = 2
    threshold: float = 0.01
    stop_after: int = 6
    seed: int = 20
    bfloat16: bool = False  # 3 times as fast on CPUs with avx512_bf16, slower elsewhere


@dataclass
class BestEpoch:
    """The epoch with the lowest validation loss so far, and its averaged weights."""

    epoch: int = 0
    loss: float = math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class FitResult:
    """The network with the averaged weights of `best_epoch`, and the metrics of all epochs."""

    network: nn.Module
    best_epoch: int
    history: list[EpochMetrics]


def fit(
    network: nn.Module,
    sources: Sources,
    validation: Mapping[str, Digits],
    spec: DigitPreprocess,
    schedule: Schedule,
    checkpoints: Checkpoints,
    after_epoch: Callable[[list[EpochMetrics]], None] = lambda _: None,
) -> FitResult:
    """Train `network` on `sources`; resume from the latest checkpoint if there is one.

    Each epoch ends with a call of `after_epoch` and a checkpoint. The result depends on the
    arguments only, even if the training was interrupted and resumed.
    Raise CheckpointError, or FitError if the loss is not finite.
    """
    trainer = _Trainer(network, sources, spec, schedule)
    state = checkpoints.load()
    if state is not None:
        trainer.restore(state)
        print(f"resuming after epoch {trainer.epoch}", flush=True)
    while not trainer.is_finished:
        started = time.monotonic()
        loss = trainer.train_epoch()
        trainer.validate(validation, loss, started)
        after_epoch(trainer.history)
        checkpoints.save(trainer.epoch, trainer.state())
    network.load_state_dict(trainer.best.weights)
    return FitResult(network.eval(), trainer.best.epoch, trainer.history)


class _Trainer:
    """The state of a training run: everything that changes between epochs."""

    def __init__(
        self, network: nn.Module, sources: Sources, spec: DigitPreprocess, schedule: Schedule
    ) -> None:
        self._sources, self._spec, self._schedule = sources, spec, schedule
        self._steps = math.ceil(sum(s.count_per_epoch for s in sources) / schedule.batch)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = get_ema_multi_avg_fn(schedule.averaging)  # type: ignore[no-untyped-call]
        self._average = AveragedModel(self._network, multi_avg_fn=average, use_buffers=True)
        parameters = network.parameters()
        self._optimizer = AdamW(parameters, lr=schedule.rate, weight_decay=schedule.decay)
        self._warm_up = LinearLR(self._optimizer, 0.05, total_iters=self._steps)
        self._plateau = ReduceLROnPlateau(
            self._optimizer,
            factor=schedule.factor,
            patience=schedule.patience,
            threshold=schedule.threshold,
        )
        torch.manual_seed(schedule.seed)  # for dropout
        self._augmentation_rng = torch.Generator().manual_seed(schedule.seed)
        self._sampling_rng = np.random.default_rng(schedule.seed)
        self.best = BestEpoch()
        self.history: list[EpochMetrics] = []

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return len(self.history)

    @property
    def is_finished(self) -> bool:
        stalled = self.epoch - self.best.epoch
        return self.epoch >= self._schedule.epochs or stalled >= self._schedule.stop_after

    def train_epoch(self) -> float:
        """Train for one epoch and return the mean loss."""
        self._network.train()
        total = 0.0
        batches = tqdm(
            _batches(self._sources, self._schedule.batch, self._sampling_rng),
            f"epoch {self.epoch + 1}",
            self._steps,
            disable=None,
        )
        for pixels, labels in batches:
            crops = torch.from_numpy(pixels).float().div_(255).unsqueeze_(1)
            inputs = (augment(crops, self._augmentation_rng) - self._spec.mean) / self._spec.std
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=self._schedule.bfloat16):
                outputs = self._network(inputs)
            loss = cross_entropy_with_negatives(outputs.float(), labels, self._schedule.smoothing)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            self._warm_up.step()
            self._average.update_parameters(self._network)
            total += loss.item()
            batches.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        return total / self._steps

    def validate(self, sets: Mapping[str, Digits], training_loss: float, started: float) -> None:
        """Measure the averaged weights, update the learning rate and extend the history.

        `started` is the monotonic time in seconds at which the epoch began.
        """
        rate = self._optimizer.param_groups[0]["lr"]
        network, epoch = self._average.module, self.epoch + 1
        results = [(compute_logits(network, s.pixels, self._spec), s.labels) for s in sets.values()]
        accuracies = dict(zip(sets, (accuracy(*result) for result in results), strict=True))
        loss = calibrated_loss(results)
        if not math.isfinite(loss):
            raise FitError(f"epoch {epoch}: the loss is not finite; lower the learning rate")
        self._plateau.step(loss)
        self.history.append(
            {
                "epoch": epoch,
                "rate": rate,
                "loss": training_loss,
                "validation_loss": loss,
                "validation_error": 1 - float(np.mean(list(accuracies.values()))),
                **{f"accuracy_{name.replace(' ', '_')}": a for name, a in accuracies.items()},
                "seconds": time.monotonic() - started,
            }
        )
        if loss < self.best.loss:
            self.best = BestEpoch(epoch, loss, copy.deepcopy(network.state_dict()))

    def state(self) -> State:
        """Return all that the next epoch depends on, as tensors and plain values."""
        return {
            "network": self._network.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "warm_up": self._warm_up.state_dict(),
            "plateau": self._plateau.state_dict(),
            "dropout": torch.get_rng_state(),
            "distortions": self._augmentation_rng.get_state(),
            "draws": self._sampling_rng.bit_generator.state,
            "best": vars(self.best),
            "history": self.history,
        }

    def restore(self, state: State) -> None:
        """Restore the trainer that returned `state`."""
        self._network.load_state_dict(state["network"])
        self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._warm_up.load_state_dict(state["warm_up"])
        self._plateau.load_state_dict(state["plateau"])
        torch.set_rng_state(state["dropout"])
        self._augmentation_rng.set_state(state["distortions"])
        self._sampling_rng.bit_generator.state = state["draws"]
        self.best = BestEpoch(**state["best"])
        self.history = state["history"]


def cross_entropy_with_negatives(outputs: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy of logits (N, 10) and labels (N,): 0-9 or NEGATIVE.

    NEGATIVE is an eleventh class whose logit is always 0. The logsumexp of the ten logits is then
    the log-odds of a digit: the energy of Liu et al. 2020, trained with outlier exposure
    (Hendrycks et al. 2019). Serving needs no additional output.
    """
    logits = torch.cat([outputs, outputs.new_zeros(len(outputs), 1)], 1)
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing)


def calibrated_loss(sets: Sequence[tuple[Floats, NDArray[np.uint8]]]) -> float:
    """Return the mean loss over sets of logits (N, 10) and labels (N,), at the best temperature.

    Calibration corrects over- and underconfidence later, so they must not decide which epoch is
    the best: a network trained with smoothed labels becomes less confident as it improves.
    NaN if a logit is not finite.
    """
    outputs, labels = (np.concatenate(arrays) for arrays in zip(*sets, strict=True))
    if not np.isfinite(outputs).all():
        return math.nan
    temperature = fit_temperature(outputs, labels.astype(np.intp), "logits")
    losses = [
        functional.cross_entropy(
            torch.from_numpy(logits) / temperature, torch.from_numpy(truth.astype(np.int64))
        )
        for logits, truth in sets
    ]
    return float(np.mean(losses))


def compute_logits(network: nn.Module, crops: NDArray[np.uint8], spec: DigitPreprocess) -> Floats:
    """Return the logits (N, 10) of `network` for `crops` (N, size, size)."""
    network.eval()
    with torch.inference_mode():
        batches = [
            network(torch.from_numpy(normalize(crops[start : start + EVALUATION_BATCH_SIZE], spec)))
            for start in range(0, len(crops), EVALUATION_BATCH_SIZE)
        ]
    return torch.cat(batches).numpy()


def accuracy(outputs: Floats, labels: NDArray[np.uint8]) -> float:
    """Return the share of rows of `outputs` (N, C) whose maximum is at their label."""
    return float((outputs.argmax(1) == labels).mean())


def _batches(
    sources: Sources, size: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.uint8], Tensor]]:
    """Yield the batches of one epoch: a random share of each source, shuffled together."""
    drawn = [rng.choice(len(s.digits), s.count_per_epoch, replace=False) for s in sources]
    pixels = np.concatenate([s.digits.pixels[d] for s, d in zip(sources, drawn, strict=True)])
    labels = np.concatenate([s.digits.labels[d] for s, d in zip(sources, drawn, strict=True)])
    if labels.max() > NEGATIVE:
        raise ValueError("labels must be 0 to 9, or 10 for no digit")
    order = rng.permutation(len(labels))
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        yield pixels[batch], torch.from_numpy(labels[batch].astype(np.int64))
