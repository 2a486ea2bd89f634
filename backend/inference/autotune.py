"""How the work of one model is spread over the processors: chosen by measurement.

While one picture is alone, a forward pass takes all processors; while several are inside, either
one single-threaded runner for each processor or one runner over all of them is faster, and a
larger batch may pay or not: it depends on the network, so it is measured.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from backend.inference.errors import InferenceError
from backend.inference.runtimes import Runtime

_BATCHES: Final = (4, 16)  # smaller ones spare nobody a wait worth the handing over
_ROUNDS: Final = 5
_PROBE: Final = 0.05  # seconds that one measurement takes at least
_HANDOVER: Final = 0.0002  # seconds that a batch costs around its forward pass
_WORTH: Final = 1.1  # a gain below this is noise, or not worth a longer wait in larger batches


class Plan(BaseModel):
    """Threads of a forward pass, how many run side by side, and the largest batch.

    `alone_threads` is for a picture that has the service to itself. `decoders` are threads that
    only decode; with none, each runner decodes what it runs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: PositiveInt
    runners: PositiveInt
    alone_threads: PositiveInt
    decoders: int = 0
    max_batch: PositiveInt
    measured: bool = False

    def __str__(self) -> str:
        return (
            f"{self.runners} x {self.threads} threads, {self.alone_threads} for one alone, "
            f"{self.decoders or 'no'} decoders, batches up to {self.max_batch}"
        )


def one_runner(runtime: Runtime, threads: int, max_batch: int) -> Plan:
    """The plan of a runtime that one thread at a time calls, and of a start."""
    decoders = 0 if runtime.concurrent else threads
    return Plan(
        threads=threads,
        runners=1,
        alone_threads=threads,
        decoders=decoders,
        max_batch=max_batch,
    )


def many_runners(threads: int, max_batch: int) -> Plan:
    """What is right for most networks on a CPU, until it is measured."""
    return Plan(
        threads=1,
        runners=threads,
        alone_threads=threads,
        max_batch=min(_BATCHES[0], max_batch),
    )


def read(path: Path) -> Plan | None:
    """An earlier measurement, where there is a sound one."""
    try:
        return Plan.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write(path: Path, plan: Plan) -> None:
    """Keep a measurement for the next start; raises OSError where the folder is not writable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(plan.model_dump_json())
    draft.replace(path)


class Interrupted(Exception):  # noqa: N818
    """The measurement was stopped before its end."""


class Survey:
    """Measures forward passes of inputs of shape `shape`, up to `max_batch` at a time.

    `wide` takes `threads` threads, `narrow` one (None: only `wide` is measured). `activity` counts
    the pictures that came so far, None while some are inside: a probe during which it changed is
    thrown away. Once `stopped` says so, `plan` raises Interrupted.
    """

    def __init__(
        self,
        wide: Runtime,
        narrow: Runtime | None,
        *,
        threads: int,
        shape: tuple[int, ...],
        max_batch: int,
        activity: Callable[[], int | None],
        stopped: Callable[[], bool],
    ) -> None:
        self._wide = wide
        self._narrow = narrow
        self._threads = threads
        self._shape = shape
        self._max_batch = max_batch
        self._activity = activity
        self._stopped = stopped

    def plan(self) -> Plan:
        """Measure, a second or some, and choose; raises Interrupted."""
        wide = self._batches(self._wide, 1)
        if self._narrow is None:
            found = one_runner(self._wide, self._threads, _smallest_good(wide))
            return found.model_copy(update={"measured": True})
        narrow = self._batches(self._narrow, self._threads)
        alone = self._rates([(self._wide, 1, 1), (self._narrow, 1, 1)])
        wide_alone = alone[0] > _WORTH * alone[1]
        together = max(wide.values()) > _WORTH * max(narrow.values())
        return Plan(
            threads=self._threads if together else 1,
            runners=1 if together else self._threads,
            alone_threads=self._threads if wide_alone or together else 1,
            max_batch=_smallest_good(wide if together else narrow),
            measured=True,
        )

    def _batches(self, runtime: Runtime, callers: int) -> dict[int, float]:
        """Pictures per second by batch; larger ones are tried while they pay."""
        found: dict[int, float] = {}
        sizes = [size for size in _BATCHES if size < self._max_batch] + [self._max_batch]
        for smaller, size in zip([0, *sizes], sizes, strict=False):
            try:
                (rate,) = self._rates([(runtime, callers, size)])
            except InferenceError:  # a graph that takes one at a time
                break
            found[size] = 1 / (1 / rate + _HANDOVER / size)
            if smaller and found[size] < _WORTH * found[smaller]:
                break
        return found or {1: self._rates([(runtime, callers, 1)])[0]}

    def _rates(self, candidates: list[tuple[Runtime, int, int]]) -> list[float]:
        """Pictures per second, the best of some rounds: noise only ever slows down."""
        best = [0.0] * len(candidates)
        for _ in range(_ROUNDS):
            for index, candidate in enumerate(candidates):
                best[index] = max(best[index], self._undisturbed(*candidate))
        return best

    def _undisturbed(self, runtime: Runtime, callers: int, size: int) -> float:
        while not self._stopped():
            before = self._activity()
            if before is not None:
                rate = self._rate(runtime, callers, size)
                if self._activity() == before:
                    return rate
            time.sleep(0.1)
        raise Interrupted

    def _rate(self, runtime: Runtime, callers: int, size: int) -> float:
        batch = np.zeros((size, *self._shape), dtype=np.float32)
        end = time.perf_counter() + _PROBE

        def run() -> int:
            done = 0
            while not done or time.perf_counter() < end:
                runtime(batch)
                done += size
            return done

        started = time.perf_counter()
        with ThreadPoolExecutor(callers) as pool:
            done = sum(task.result() for task in [pool.submit(run) for _ in range(callers)])
        return done / (time.perf_counter() - started)


def _smallest_good(rates: dict[int, float]) -> int:
    """The smallest batch that is all but as fast as the fastest one."""
    good = max(rates.values()) / _WORTH
    return min(size for size, rate in rates.items() if rate >= good)
