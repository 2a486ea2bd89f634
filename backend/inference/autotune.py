"""Threads, runners and batch size of one model, chosen by measurement.

A single image uses all processors. Under load, either one single-threaded runner per processor or
one runner over all processors is faster, and larger batches may or may not increase throughput.
Which is best depends on the network, so it is measured.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from backend.inference.comparison import Comparison
from backend.inference.errors import InferenceError
from backend.inference.runtimes import Precision, Runtime

_BATCH_SIZES: Final = (4, 16)  # smaller batches save less than their overhead
_ROUNDS: Final = 5
_PROBE_SECONDS: Final = 0.05  # minimum duration of one measurement
_BATCH_OVERHEAD: Final = 0.0002  # seconds that a batch costs besides its forward pass
_MIN_GAIN: Final = 1.1  # smaller gains are noise, or do not justify the latency of larger batches


class Plan(BaseModel):
    """How one model uses the processors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: PositiveInt  # of one forward pass under load
    runners: PositiveInt  # forward passes that run concurrently
    alone_threads: PositiveInt  # of a forward pass when a single image is in flight
    decoders: int = 0  # threads that only decode images; 0: each runner decodes its own batch
    max_batch: PositiveInt
    measured: bool = False  # not assumed
    # What was compared with the default runtime in fp32; at most one comparison is marked as used.
    comparisons: tuple[Comparison, ...] = ()

    @property
    def used(self) -> Comparison | None:
        """The alternative that replaces the default runtime in fp32, if any."""
        return next((each for each in self.comparisons if each.used), None)

    @property
    def precision(self) -> Precision:
        """Precision of the forward passes."""
        return self.used.precision if self.used else "fp32"

    def __str__(self) -> str:
        compared = "".join(
            f"; {each.precision} in {each.runtime} {'used' if each.used else 'not used'}: "
            f"{each.reason}"
            for each in self.comparisons
        )
        return (
            f"runners={self.runners}, threads={self.threads} (for a single image: "
            f"{self.alone_threads}), decoders={self.decoders}, max_batch={self.max_batch}{compared}"
        )


def single_runner_plan(runtime: Runtime, threads: int, max_batch: int) -> Plan:
    """Return the plan of a runtime that gains nothing from concurrent calls."""
    decoders = 0 if runtime.concurrent else threads
    return Plan(
        threads=threads, runners=1, alone_threads=threads, decoders=decoders, max_batch=max_batch
    )


def multi_runner_plan(threads: int, max_batch: int) -> Plan:
    """Return the plan that suits most networks on a CPU; used until a plan is measured."""
    size = min(_BATCH_SIZES[0], max_batch)
    return Plan(threads=1, runners=threads, alone_threads=threads, max_batch=size)


def read_plan(path: Path) -> Plan | None:
    """Return the cached plan, or None if it is missing or invalid."""
    try:
        return Plan.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write_plan(path: Path, plan: Plan) -> None:
    """Cache `plan`; raise OSError if the folder is not writable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(plan.model_dump_json())
    draft.replace(path)


class Interrupted(Exception):  # noqa: N818
    """The measurement was stopped before it finished."""


@dataclass(frozen=True, slots=True)
class Autotuner:
    """Measures the throughput of forward passes and chooses a plan.

    `activity` returns the number of images received so far, or None while images are in flight; a
    measurement during which it changes is discarded. Once `is_stopped` returns True, `choose_plan`
    raises Interrupted.
    """

    wide: Runtime  # a forward pass uses `threads` threads
    narrow: Runtime | None  # the same network with one thread; None: only `wide` is measured
    _: KW_ONLY
    threads: int  # processors to use
    shape: tuple[int, ...]  # of one input
    max_batch: int  # largest batch size to try
    activity: Callable[[], int | None]
    is_stopped: Callable[[], bool]

    def choose_plan(self) -> Plan:
        """Measure for a few seconds and return the best plan; raise Interrupted if stopped."""
        wide = self._measure_batches(self.wide, 1)
        if self.narrow is None:
            plan = single_runner_plan(self.wide, self.threads, _smallest_good_batch(wide))
            return plan.model_copy(update={"measured": True})
        narrow = self._measure_batches(self.narrow, self.threads)
        single = self._best_rates([(self.wide, 1, 1), (self.narrow, 1, 1)])
        is_wide_better_single = single[0] > _MIN_GAIN * single[1]
        is_wide_better = max(wide.values()) > _MIN_GAIN * max(narrow.values())
        return Plan(
            threads=self.threads if is_wide_better else 1,
            runners=1 if is_wide_better else self.threads,
            alone_threads=self.threads if is_wide_better_single or is_wide_better else 1,
            max_batch=_smallest_good_batch(wide if is_wide_better else narrow),
            measured=True,
        )

    def compare_speed(self, plan: Plan, wide: Runtime, narrow: Runtime | None) -> float:
        """Return how many times as fast other networks are with `plan`, in turns.

        It is the lower of the ratios for a single image and for concurrent ones. Raise Interrupted
        if stopped.
        """
        settings = [
            (plan.threads, plan.runners, plan.max_batch),
            (plan.alone_threads, 1, 1),
        ]
        rates = self._best_rates(
            [
                (pair[1] if threads == 1 and pair[1] is not None else pair[0], callers, size)
                for threads, callers, size in settings
                for pair in ((self.wide, self.narrow), (wide, narrow))
            ]
        )
        return min(rates[1] / rates[0], rates[3] / rates[2])

    def _measure_batches(self, runtime: Runtime, callers: int) -> dict[int, float]:
        """Return images per second by batch size; stop at the first size without a gain."""
        rates: dict[int, float] = {}
        sizes = [size for size in _BATCH_SIZES if size < self.max_batch] + [self.max_batch]
        for smaller, size in zip([0, *sizes], sizes, strict=False):
            try:
                (rate,) = self._best_rates([(runtime, callers, size)])
            except InferenceError:  # a graph with a fixed batch size of one
                break
            rates[size] = 1 / (1 / rate + _BATCH_OVERHEAD / size)
            if smaller and rates[size] < _MIN_GAIN * rates[smaller]:
                break
        return rates or {1: self._best_rates([(runtime, callers, 1)])[0]}

    def _best_rates(self, candidates: list[tuple[Runtime, int, int]]) -> list[float]:
        """Return images per second for each (runtime, callers, batch size).

        It is the best of several rounds, because noise can only slow a measurement down.
        """
        best = [0.0] * len(candidates)
        for _ in range(_ROUNDS):
            for index, candidate in enumerate(candidates):
                best[index] = max(best[index], self._undisturbed_rate(*candidate))
        return best

    def _undisturbed_rate(self, runtime: Runtime, callers: int, size: int) -> float:
        """Measure until no image arrives during the measurement."""
        while not self.is_stopped():
            before = self.activity()
            if before is not None:
                rate = self._rate(runtime, callers, size)
                if self.activity() == before:
                    return rate
            time.sleep(0.1)
        raise Interrupted

    def _rate(self, runtime: Runtime, callers: int, size: int) -> float:
        batch = np.zeros((size, *self.shape), dtype=np.float32)
        end = time.perf_counter() + _PROBE_SECONDS

        def run() -> int:
            images = 0
            while not images or time.perf_counter() < end:
                runtime(batch)
                images += size
            return images

        started = time.perf_counter()
        with ThreadPoolExecutor(callers) as pool:
            images = sum(task.result() for task in [pool.submit(run) for _ in range(callers)])
        return images / (time.perf_counter() - started)


def _smallest_good_batch(rates: dict[int, float]) -> int:
    """Return the smallest batch size within `_MIN_GAIN` of the highest rate."""
    threshold = max(rates.values()) / _MIN_GAIN
    return min(size for size, rate in rates.items() if rate >= threshold)
