"""Metrics for Prometheus: what they mean and how they add up is in docs/observability.md.

In a process of its own each application counts in memory. Where PROMETHEUS_MULTIPROC_DIR is set
before this module is imported, several workers count in files of that folder, and each of them
answers with the sum.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.values import ValueClass

from backend.inference.observer import Gathered, Shed

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double what is scraped

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
SHARED: Final[bool] = ValueClass._multiprocess

# fmt: off
SECONDS: Final = (
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)
# fmt: on
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)

# A client may invent methods and paths; it makes no label with them.
METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER: Final = "other"


class Metrics:
    """The collectors of one application, on a registry of their own.

    `code_of` names an error in the label `code`.
    """

    def __init__(self, code_of: Callable[[BaseException], str] = lambda _: "error") -> None:
        if SHARED:
            Path(os.environ[FOLDER]).mkdir(parents=True, exist_ok=True)
        self._code_of = code_of
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        timer = partial(Histogram, registry=self._registry, buckets=SECONDS)
        gauge = partial(Gauge, registry=self._registry, multiprocess_mode="livesum")
        self._requests: Counter = counter(
            "prism_requests_total",
            "HTTP responses by status code.",
            ("method", "route", "model", "code"),
        )
        self._seconds: Histogram = timer(
            "prism_request_seconds", "Seconds from a request's headers to its answer.", ("route",)
        )
        self._in_flight: Gauge = gauge("prism_requests_in_flight", "HTTP requests in work.")
        model = ("model",)
        self.decode: Histogram = timer(
            "prism_decode_seconds", "Seconds to decode and prepare a picture.", model
        )
        self.queue: Histogram = timer(
            "prism_queue_seconds", "Seconds a picture waited for its forward pass.", model
        )
        self.inference: Histogram = timer(
            "prism_inference_seconds", "Seconds of the forward pass a picture was in.", model
        )
        self.batch_size: Histogram = Histogram(
            "prism_batch_size",
            "Pictures in a forward pass.",
            model,
            registry=self._registry,
            buckets=SIZES,
        )
        self.batches: Counter = counter(
            "prism_batches_total", "Forward passes by why they began.", ("model", "reason")
        )
        self.depth: Gauge = gauge("prism_queue_depth", "Pictures that wait.", model)
        self.admitted: Counter = counter("prism_images_admitted_total", "Pictures taken in.", model)
        self.shed: Counter = counter(
            "prism_images_shed_total", "Pictures refused, not admitted.", ("model", "reason")
        )
        self.expired: Counter = counter(
            "prism_images_expired_total", "Admitted pictures whose deadline passed.", model
        )
        self.abandoned: Counter = counter(
            "prism_images_abandoned_total", "Admitted pictures that nobody waits for.", model
        )
        self.answered: Counter = counter(
            "prism_images_answered_total", "Admitted pictures that were classified.", model
        )
        self.failed: Counter = counter(
            "prism_images_failed_total", "Admitted pictures that failed.", ("model", "code")
        )
        if not SHARED:
            ProcessCollector(registry=self._registry)
        self._answers: dict[tuple[str, str, str, int], Callable[[], None]] = {}
        self._timers: dict[str, Callable[[float], None]] = {}
        self.began: Final[Callable[[], None]] = self._in_flight.inc
        self._done: Final[Callable[[], None]] = self._in_flight.dec

    def ended(self, method: str, route: str, model: str, status: int, seconds: float) -> None:
        """Count a response; `route` is a template or "", `model` a served model's name or ""."""
        key = (method, route, model, status)
        count = self._answers.get(key)
        if count is None:
            count = self._remember(*key)
        count()
        self._timers[route](seconds)
        self._done()

    def observer(self, model: str) -> "ModelMetrics":
        """What counts the pictures of `model`."""
        return ModelMetrics(self, model, self._code_of)

    def expose(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics, of every worker where there are several, and their content type."""
        registry = self._registry
        if SHARED:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    def _remember(self, method: str, route: str, model: str, status: int) -> Callable[[], None]:
        known = method if method in METHODS else OTHER
        # Both spellings of a path, with and without a slash at its end, are one route.
        label = (route.rstrip("/") or "/") if route else OTHER
        count = self._requests.labels(known, label, model, str(status)).inc
        self._timers[route] = self._seconds.labels(label).observe
        if known == method:
            self._answers[method, route, model, status] = count
        return count


class ModelMetrics:
    """Counts one model's pictures: an Observer (backend/inference/observer.py)."""

    def __init__(self, metrics: Metrics, model: str, code_of: Callable[[BaseException], str]):
        self._model = model
        self._code_of = code_of
        self._waiting = 0
        self.admitted: Callable[[], None] = metrics.admitted.labels(model).inc
        self.expired: Callable[[], None] = metrics.expired.labels(model).inc
        self.abandoned: Callable[[], None] = metrics.abandoned.labels(model).inc
        self._answered = metrics.answered.labels(model).inc
        self._decode = metrics.decode.labels(model).observe
        self._queue = metrics.queue.labels(model).observe
        self._inference = metrics.inference.labels(model).observe
        self._size = metrics.batch_size.labels(model).observe
        reasons: tuple[Gathered, ...] = ("single", "partial", "full")
        self._batches = {why: metrics.batches.labels(model, why).inc for why in reasons}
        refusals: tuple[Shed, ...] = ("queue_full", "too_slow")
        self._shed = {why: metrics.shed.labels(model, why).inc for why in refusals}
        self._failed = metrics.failed
        self._failures: dict[str, Callable[[], None]] = {}
        self._depth = metrics.depth.labels(model)
        if not SHARED:
            self._depth.set_function(lambda: self._waiting)

    def shed(self, reason: Shed) -> None:
        """Count a picture that was refused."""
        self._shed[reason]()

    def answered(self, decode: float, queue: float, inference: float) -> None:
        """Count an answer and where its time went, in seconds."""
        self._answered()
        self._decode(decode)
        self._queue(queue)
        self._inference(inference)

    def failed(self, cause: str | BaseException) -> None:
        """Count a failure under its code."""
        code = cause if isinstance(cause, str) else self._code_of(cause)
        count = self._failures.get(code)
        if count is None:
            count = self._failures[code] = self._failed.labels(self._model, code).inc
        count()

    def batch(self, size: int, reason: Gathered) -> None:
        """Count a forward pass over `size` pictures."""
        self._size(size)
        self._batches[reason]()

    def depth(self, waiting: int) -> None:
        """Remember how many pictures wait."""
        self._waiting = waiting
        if SHARED:
            self._depth.set(waiting)


def forget_worker(pid: int) -> None:
    """Take a worker that has ended out of the gauges; what it counted stays in the sums."""
    if os.environ.get(FOLDER):
        mark_process_dead(pid)  # type: ignore[no-untyped-call]
