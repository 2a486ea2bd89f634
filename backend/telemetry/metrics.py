"""Prometheus metrics, described in docs/observability.md.

A single process counts in memory. If PROMETHEUS_MULTIPROC_DIR is set before this module is
imported, several workers count in files of that folder, and each of them exposes the sum.
"""

import os
from collections.abc import Callable, Iterable
from functools import partial
from math import nan
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

from backend.history.drift import STATISTICS, Drift
from backend.inference.observer import BatchReason, Observer, ShedReason

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the size of a scrape

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
SHARED: Final[bool] = ValueClass._multiprocess

# fmt: off
SECONDS: Final = (
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)
# fmt: on
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)

# Unknown methods and paths do not become labels: clients can send arbitrary ones.
METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER: Final = "other"


class Metrics:
    """The metrics of one application, in a registry of its own.

    `code_of` returns the value of the label `code` for an error.
    """

    def __init__(self, code_of: Callable[[BaseException], str] = lambda _: "error") -> None:
        if SHARED:
            Path(os.environ[FOLDER]).mkdir(parents=True, exist_ok=True)
        self._code_of = code_of
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        histogram = partial(Histogram, registry=self._registry, buckets=SECONDS)
        gauge = partial(Gauge, registry=self._registry, multiprocess_mode="livesum")
        self._requests = counter(
            "prism_requests_total",
            "HTTP responses by status code.",
            ("method", "route", "model", "code"),
        )
        self._seconds = histogram(
            "prism_request_seconds",
            "Seconds from the request headers to the end of the response.",
            ("route",),
        )
        self._in_flight = gauge("prism_requests_in_flight", "HTTP requests in progress.")
        model = ("model",)
        self.decode = histogram(
            "prism_decode_seconds", "Seconds to decode and preprocess an image.", model
        )
        self.queue = histogram(
            "prism_queue_seconds", "Seconds that an image waited for its forward pass.", model
        )
        self.inference = histogram(
            "prism_inference_seconds", "Seconds of the forward pass of an image.", model
        )
        self.batch_size = histogram(
            "prism_batch_size", "Images in a forward pass.", model, buckets=SIZES
        )
        self.batches = counter(
            "prism_batches_total",
            "Forward passes by the reason of their batch size.",
            ("model", "reason"),
        )
        self.depth = gauge("prism_queue_depth", "Images admitted and not yet answered.", model)
        self.admitted = counter("prism_images_admitted_total", "Admitted images.", model)
        self.shed = counter(
            "prism_images_shed_total", "Images refused before admission.", ("model", "reason")
        )
        self.expired = counter(
            "prism_images_expired_total", "Admitted images whose deadline passed.", model
        )
        self.abandoned = counter(
            "prism_images_abandoned_total", "Admitted images whose client disconnected.", model
        )
        self.answered = counter(
            "prism_images_answered_total", "Admitted images that were classified.", model
        )
        self.failed = counter(
            "prism_images_failed_total",
            "Admitted images that could not be classified.",
            ("model", "code"),
        )
        newest = partial(Gauge, registry=self._registry, multiprocess_mode="livemostrecent")
        statistic = ("model", "statistic")
        self._drift_alert = newest(
            "prism_drift_alert", "1 if the images or answers of the model have changed.", model
        )
        self._drift_evidence = newest(
            "prism_drift_evidence", "Evidence of a change, as log10.", statistic
        )
        self._drift_value = newest(
            "prism_drift_value", "Mean of the statistic over the recent images.", statistic
        )
        self._drift_reference = newest(
            "prism_drift_reference", "Mean of the statistic over the reference.", statistic
        )
        self._model_info = newest(
            "prism_model_info",
            "1 for the version of each model that is served.",
            ("model", "version"),
        )
        self._versions: set[tuple[str, str]] = set()
        if not SHARED:
            ProcessCollector(registry=self._registry)
        self._request_counters: dict[tuple[str, str, str, int], Callable[[], None]] = {}
        self._timers: dict[str, Callable[[float], None]] = {}
        self._open_requests = 0
        if not SHARED:
            self._in_flight.set_function(lambda: self._open_requests)

    def request_started(self) -> None:
        """Count a request that has begun."""
        self._open_requests += 1
        if SHARED:
            self._in_flight.inc()

    def request_finished(
        self, method: str, route: str, model: str, status: int, seconds: float
    ) -> None:
        """Count a response; `route` is a template or "", `model` a served model or ""."""
        key = (method, route, model, status)
        count = self._request_counters.get(key)
        if count is None:
            count = self._add_counter(*key)
        count()
        self._timers[route](seconds)
        self._open_requests -= 1
        if SHARED:
            self._in_flight.dec()

    def set_versions(self, versions: Iterable[tuple[str, str]]) -> None:
        """Set the served models, as (name, version); earlier versions become absent, or NaN."""
        served = set(versions)
        for name, version in self._versions - served:
            _set(self._model_info, None, name, version)
        for name, version in served:
            _set(self._model_info, 1, name, version)
        self._versions = served

    def set_drift(self, model: str, drift: Drift | None) -> None:
        """Set the gauges of the drift of a model; those of unknown statistics become absent.

        With several workers they become NaN, which is no alert: the others cannot be told to
        remove theirs.
        """
        _set(self._drift_alert, None if drift is None else float(drift.alert), model)
        found = {one.name: one for one in drift.statistics} if drift else {}
        for name in STATISTICS:
            one = found.get(name)
            evidence, value, reference = (
                (one.evidence, one.value, one.reference) if one else (None, None, None)
            )
            _set(self._drift_evidence, evidence, model, name)
            _set(self._drift_value, value, model, name)
            _set(self._drift_reference, reference, model, name)

    def observer(
        self, model: str, on_answered: Callable[[float, float, float], None] | None = None
    ) -> "ModelMetrics":
        """Return the observer that counts the images of `model`.

        `on_answered` is called with the durations of each classified image, in seconds.
        """
        return ModelMetrics(self, model, self._code_of, on_answered)

    def expose(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics, summed over the workers, and their content type."""
        registry = self._registry
        if SHARED:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    def _add_counter(self, method: str, route: str, model: str, status: int) -> Callable[[], None]:
        method_label = method if method in METHODS else OTHER
        # Paths with and without a trailing slash are one route.
        label = (route.rstrip("/") or "/") if route else OTHER
        count = self._requests.labels(method_label, label, model, str(status)).inc
        self._timers[route] = self._seconds.labels(label).observe
        if method_label == method:
            self._request_counters[method, route, model, status] = count
        return count


def _set(gauge: Gauge, value: float | None, *labels: str) -> None:
    """Set a gauge, or remove it if `value` is None."""
    if value is not None:
        gauge.labels(*labels).set(value)
    elif not SHARED:
        gauge.remove(*labels)
    elif labels in gauge._metrics:
        gauge.labels(*labels).set(nan)


class ModelMetrics(Observer):
    """Counts the images of one model."""

    def __init__(
        self,
        metrics: Metrics,
        model: str,
        code_of: Callable[[BaseException], str],
        on_answered: Callable[[float, float, float], None] | None = None,
    ) -> None:
        self._model = model
        self._code_of = code_of
        self._waiting = 0
        self._admitted = metrics.admitted.labels(model).inc
        self._expired = metrics.expired.labels(model).inc
        self._abandoned = metrics.abandoned.labels(model).inc
        self._on_answered = on_answered
        self._answered = metrics.answered.labels(model).inc
        self._decode = metrics.decode.labels(model).observe
        self._queue = metrics.queue.labels(model).observe
        self._inference = metrics.inference.labels(model).observe
        self._size = metrics.batch_size.labels(model).observe
        reasons: tuple[BatchReason, ...] = ("single", "partial", "full")
        self._batches = {reason: metrics.batches.labels(model, reason).inc for reason in reasons}
        shed_reasons: tuple[ShedReason, ...] = ("queue_full", "too_slow")
        self._shed = {reason: metrics.shed.labels(model, reason).inc for reason in shed_reasons}
        self._failed = metrics.failed
        self._failures: dict[str, Callable[[], None]] = {}
        self._depth = metrics.depth.labels(model)
        if not SHARED:
            self._depth.set_function(lambda: self._waiting)

    def admitted(self) -> None:
        """Count an admitted image."""
        self._admitted()

    def expired(self) -> None:
        """Count an image whose deadline passed."""
        self._expired()

    def abandoned(self) -> None:
        """Count an image whose caller cancelled it."""
        self._abandoned()

    def shed(self, reason: ShedReason) -> None:
        """Count a refused image."""
        self._shed[reason]()

    def answered(self, decode: float, queue: float, inference: float) -> None:
        """Count a classified image and its durations, in seconds."""
        self._answered()
        self._decode(decode)
        self._queue(queue)
        self._inference(inference)
        if self._on_answered:
            self._on_answered(decode, queue, inference)

    def failed(self, cause: str | BaseException) -> None:
        """Count a failed image by error code."""
        code = cause if isinstance(cause, str) else self._code_of(cause)
        count = self._failures.get(code)
        if count is None:
            count = self._failures[code] = self._failed.labels(self._model, code).inc
        count()

    def batch(self, size: int, reason: BatchReason) -> None:
        """Count a forward pass of `size` images."""
        self._size(size)
        self._batches[reason]()

    def depth(self, in_flight: int) -> None:
        """Set the number of images that are admitted and not yet answered."""
        self._waiting = in_flight
        if SHARED:
            self._depth.set(in_flight)


def remove_worker(pid: int) -> None:
    """Remove a terminated worker from the gauges; its counts remain in the sums."""
    if os.environ.get(FOLDER):
        mark_process_dead(pid)  # type: ignore[no-untyped-call]
