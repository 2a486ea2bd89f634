"""Fit a network to labelled fields, with augmentation and averaged weights."""

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
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from backend.inference.preprocessing.digits import DigitPreprocess, normalize
from backend.inference.types import Floats
from calibration.fit import fit_temperature
from training.data.augmentation import augment
from training.data.digits import NOTHING, Digits
from training.data.sources import Source
from training.fit.checkpoints import Checkpoints, State
from training.fit.schedule import Schedule

Record = dict[str, float]  # the figures of one epoch, by name


class FitError(Exception):
    """A network that does not learn; the text says what to do."""


@dataclass
class Best:
    """The epoch whose averaged weights have the least validation loss so far."""

    epoch: int = 0
    loss: float = math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Fitted:
    """A network with the averaged weights of the best epoch, and the figures of every epoch."""

    network: nn.Module
    best: int
    history: list[Record]


def fit(
    network: nn.Module,
    sources: list[Source],
    checks: Mapping[str, Digits],
    spec: DigitPreprocess,
    schedule: Schedule,
    checkpoints: Checkpoints,
    after_epoch: Callable[[list[Record]], None] = lambda _: None,
) -> Fitted:
    """Train `network` on `sources` until `checks` say enough; go on where a killed run was.

    After each epoch `after_epoch` sees the history, then a checkpoint is written. The same
    arguments give the same weights, however often the run was interrupted between. Raises
    CheckpointError, and FitError where the loss is no number any more.
    """
    learner = _Learner(network, sources, spec, schedule)
    state = checkpoints.load()
    if state is not None:
        learner.restore(state)
        print(f"going on after epoch {learner.epoch}", flush=True)
    while not learner.has_finished:
        started = time.monotonic()
        trained = learner.learn()
        learner.check(checks, trained, started)
        after_epoch(learner.history)
        checkpoints.save(learner.epoch, learner.state())
    network.load_state_dict(learner.best.weights)
    return Fitted(network.eval(), learner.best.epoch, learner.history)


class _Learner:
    """A network in training: all that changes from epoch to epoch."""

    def __init__(
        self, network: nn.Module, sources: list[Source], spec: DigitPreprocess, schedule: Schedule
    ) -> None:
        self._sources, self._spec, self._schedule = sources, spec, schedule
        self._steps = math.ceil(_seen_in_epoch(sources) / schedule.batch)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        blend = get_ema_multi_avg_fn(schedule.averaging)  # type: ignore[no-untyped-call]
        self._average = AveragedModel(self._network, multi_avg_fn=blend, use_buffers=True)
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=schedule.rate, weight_decay=schedule.decay
        )
        self._warm_up = LinearLR(self._optimizer, 0.05, total_iters=self._steps)
        self._plateau = ReduceLROnPlateau(
            self._optimizer,
            factor=schedule.factor,
            patience=schedule.patience,
            threshold=schedule.threshold,
        )
        torch.manual_seed(schedule.seed)  # dropout
        self._distortions = torch.Generator().manual_seed(schedule.seed)
        self._draws = np.random.default_rng(schedule.seed)
        self.best = Best()
        self.history: list[Record] = []

    @property
    def epoch(self) -> int:
        """The last epoch that is finished, from 1."""
        return len(self.history)

    @property
    def has_finished(self) -> bool:
        waited = self.epoch - self.best.epoch
        return self.epoch >= self._schedule.epochs or waited >= self._schedule.stop_after

    def learn(self) -> float:
        """Train for one epoch; returns its mean loss."""
        self._network.train()
        total = 0.0
        batches = tqdm(
            _batches(self._sources, self._schedule.batch, self._draws),
            total=self._steps,
            desc=f"epoch {self.epoch + 1}",
            disable=None,
        )
        for pixels, labels in batches:
            fields = torch.from_numpy(pixels).float().div_(255).unsqueeze_(1)
            inputs = (augment(fields, self._distortions) - self._spec.mean) / self._spec.std
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=self._schedule.bfloat16):
                outputs = self._network(inputs)
            loss = loss_of(outputs.float(), labels, self._schedule.smoothing)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            self._warm_up.step()
            self._average.update_parameters(self._network)
            total += loss.item()
            batches.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        return total / self._steps

    def check(self, checks: Mapping[str, Digits], trained: float, started: float) -> None:
        """Validate the averaged weights, lower the rate or not, and write down the figures."""
        rate = self._optimizer.param_groups[0]["lr"]
        outputs = {
            name: outputs_of(self._average.module, digits.pixels, self._spec)
            for name, digits in checks.items()
        }
        accuracies = {name: accuracy(outputs[name], checks[name].labels) for name in checks}
        loss = calibrated_loss([(outputs[name], checks[name].labels) for name in checks])
        if not math.isfinite(loss):
            raise FitError(f"epoch {self.epoch + 1}: the loss is no number; lower the rate")
        self._plateau.step(loss)
        self.history.append(
            {
                "epoch": self.epoch + 1,
                "rate": rate,
                "loss": trained,
                "validation_loss": loss,
                "validation_error": 1 - float(np.mean(list(accuracies.values()))),
                **{f"accuracy_{name.replace(' ', '_')}": a for name, a in accuracies.items()},
                "seconds": time.monotonic() - started,
            }
        )
        if loss < self.best.loss:
            self.best = Best(self.epoch, loss, copy.deepcopy(self._average.module.state_dict()))

    def state(self) -> State:
        """All that the next epoch depends on: tensors and plain values."""
        return {
            "network": self._network.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "warm_up": self._warm_up.state_dict(),
            "plateau": self._plateau.state_dict(),
            "dropout": torch.get_rng_state(),
            "distortions": self._distortions.get_state(),
            "draws": self._draws.bit_generator.state,
            "best": vars(self.best),
            "history": self.history,
        }

    def restore(self, state: State) -> None:
        """Continue as the learner would that gave `state`."""
        self._network.load_state_dict(state["network"])
        self._average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._warm_up.load_state_dict(state["warm_up"])
        self._plateau.load_state_dict(state["plateau"])
        torch.set_rng_state(state["dropout"])
        self._distortions.set_state(state["distortions"])
        self._draws.bit_generator.state = state["draws"]
        self.best = Best(**state["best"])
        self.history = state["history"]


def loss_of(outputs: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of logits (N, 10) and labels 0-9, or NOTHING for no digit.

    NOTHING is an eleventh class whose logit is 0. So logsumexp of the ten becomes the log-odds of
    a digit against none: the energy of Liu et al. 2020, learnt from outliers as Hendrycks et al.
    2019 do, and serving needs no other output.
    """
    nothing = outputs.new_zeros(len(outputs), 1)
    return functional.cross_entropy(
        torch.cat([outputs, nothing], 1), labels, label_smoothing=smoothing
    )


def calibrated_loss(answers: Sequence[tuple[Floats, NDArray[np.uint8]]]) -> float:
    """Mean cross-entropy over sets of logits (N, 10) and labels (N,), at the best temperature.

    What calibration mends must not choose the epoch: trained with smoothed labels, a network is
    less sure than it should be, and the better it gets, the more.
    """
    outputs, labels = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    if not np.isfinite(outputs).all():
        return math.nan
    temperature = fit_temperature(outputs, labels.astype(np.intp), "logits")
    losses = [
        functional.cross_entropy(
            torch.from_numpy(logits) / temperature, torch.from_numpy(truth.astype(np.int64))
        )
        for logits, truth in answers
    ]
    return float(np.mean(losses))


def outputs_of(network: nn.Module, fields: NDArray[np.uint8], spec: DigitPreprocess) -> Floats:
    """The logits (N, 10) of a network for fields (N, size, size) as it sees them."""
    network.eval()
    with torch.inference_mode():
        parts = [
            network(torch.from_numpy(normalize(fields[start : start + 500], spec)))
            for start in range(0, len(fields), 500)
        ]
    return torch.cat(parts).numpy()


def accuracy(outputs: Floats, labels: NDArray[np.uint8]) -> float:
    """Share of the rows of outputs (N, C) whose largest is at their label."""
    return float((outputs.argmax(1) == labels).mean())


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
