"""Classifies image files with a taught model: a head on the features of another model."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from backend.inference.autotune import Plan
from backend.inference.classifier import Classifier, make_timings, unit_features
from backend.inference.decoder import Decoder, SharedImage
from backend.inference.engine import InferenceResult
from backend.inference.errors import ArtifactError, InferenceError
from backend.inference.explain import Explanation
from backend.inference.labeling import Labeler
from backend.inference.models.artifact import Artifact, Backbone, Manifest
from backend.inference.models.head import read_head
from backend.inference.observer import Observer
from backend.inference.tracking import Tracking
from backend.inference.types import ClassificationResult, Features, Floats, Timings
from calibration import apply

_SHADOW: Final = "(shadow)"  # instead of a client: images of a shadow are in no client's share


class HeadClassifier:
    """A linear layer on the features of a backbone, with the public interface of `Classifier`.

    The images of all heads of a backbone, and its own, share its decoders, queue and batches. A
    head has no threads and no network: it costs the memory of its weights.
    """

    def __init__(
        self, artifact: Artifact, backbone: Classifier, *, observer: Observer | None = None
    ) -> None:
        """Read the head; raise ArtifactError if it is invalid or does not fit the backbone."""
        check_backbone(artifact, backbone.manifest.preprocess, backbone.backbone)
        self.manifest: Final[Manifest] = artifact.manifest
        self.decoder: Final[Decoder] = backbone.decoder
        self._network = backbone
        self._head: Final = read_head(artifact)
        if self._head.dimensions != backbone.dimensions:
            raise ArtifactError(
                f"{artifact.folder}: the head expects {self._head.dimensions} features, but the "
                f"backbone {backbone.manifest.name} returns {backbone.dimensions or 'none'}"
            )
        calibration = artifact.manifest.calibration
        self._temperature: Final = calibration.temperature if calibration else 1.0
        self._ood_method: Final = calibration.ood_method if calibration else "energy"
        self._label: Final = Labeler(artifact.manifest)
        self._tracking: Final = Tracking(observer or Observer())
        self._explainer: Final = backbone.create_explainer(lambda *_: None, self._probabilities)

    @property
    def runtime_name(self) -> str:
        """The runtime of the backbone."""
        return self._network.runtime_name

    @property
    def plan(self) -> Plan:
        """The plan of the backbone."""
        return self._network.plan

    @property
    def network(self) -> Classifier:
        """The classifier of the backbone, which must stay open as long as this one."""
        return self._network

    @property
    def backbone(self) -> Backbone:
        """The network that the features come from."""
        return self._network.backbone

    @property
    def dimensions(self) -> int | None:
        """Number of features of an image."""
        return self._network.dimensions

    @property
    def queued(self) -> int:
        """Zero: images wait in the queue of the backbone."""
        return 0

    @property
    def activity(self) -> int | None:
        """Number of images received so far; None while images are in flight."""
        return self._tracking.activity

    def has_capacity(
        self, time_limit: float | None = None, client: str = "", data: bytes | None = None
    ) -> bool:
        """Return whether the backbone has capacity; see `Classifier.has_capacity`."""
        return self._network.has_capacity(time_limit, client, data)

    def require_capacity(self, time_limit: float | None = None, client: str = "") -> None:
        """Raise QueueFullError, and count a rejection, unless the backbone has capacity."""
        self._network.require_capacity(time_limit, client, self._tracking)

    def require_features(self) -> None:
        """Return: a backbone has features."""

    async def classify(
        self, data: bytes | SharedImage, time_limit: float | None = None, client: str = ""
    ) -> ClassificationResult:
        """Classify one image file; raise the errors of `Classifier.classify`."""
        return await self._infer(data, time_limit, client, self._tracking)

    async def classify_as_shadow(
        self, data: bytes, time_limit: float | None = None
    ) -> ClassificationResult:
        """Classify one image file as `classify` does, for no client and without an observer."""
        return await self._infer(data, time_limit, _SHADOW, Tracking(Observer()))

    def classify_features(
        self, features: Features, brightness: float | None = None
    ) -> ClassificationResult:
        """Classify the features of one image, from the backbone of this model."""
        (result,) = self._classify(features.values, features.timings, brightness)
        return replace(result, features=features)

    async def classify_inputs(
        self, rows: Floats, time_limit: float | None = None, client: str = ""
    ) -> list[ClassificationResult]:
        """Classify preprocessed inputs of shape (N, *input)."""
        results, queue = await self._network.infer_inputs(rows, time_limit, client, self._tracking)
        return [
            each
            for result in results
            for each in self._classify(unit_features(result), make_timings(result, queue))
        ]

    def classify_all(self, images: Sequence[bytes]) -> list[ClassificationResult | Exception]:
        """Classify image files in the calling thread; see `Classifier.classify_all`."""
        return [
            each
            if isinstance(each, Exception)
            else self.classify_features(
                Features(unit_features(each), make_timings(each, 0)), each.brightness
            )
            for each in self._network.infer_all(images)
        ]

    async def embed(self, data: bytes, time_limit: float | None = None, client: str = "") -> Floats:
        """Return the L2-normalized features (D,) of one image file."""
        return await self._network.embed(data, time_limit, client)

    async def explain(
        self,
        data: bytes,
        result: ClassificationResult,
        time_limit: float | None = None,
        client: str = "",
    ) -> Explanation | None:
        """Explain the most probable label of an image file's `result`; see `Explainer.explain`."""
        return await self._explainer.explain(data, result.top(1)[0], time_limit, client)

    async def model_input_png(
        self, data: bytes, time_limit: float | None = None, client: str = ""
    ) -> bytes:
        """Return the model input made from an image file, as a PNG."""
        return await self._network.model_input_png(data, time_limit, client)

    def use_default_plan(self) -> None:
        """Return: the plan is that of the backbone."""

    def autotune(self, plans: Path, activity: Callable[[], int | None]) -> None:
        """Return: the plan is that of the backbone."""

    def close(self) -> None:
        """Return: the backbone owns the threads."""

    async def _infer(
        self, data: bytes | SharedImage, time_limit: float | None, client: str, tracking: Tracking
    ) -> ClassificationResult:
        result, queue = await self._network.infer(data, time_limit, client, tracking)
        features = Features(unit_features(result), make_timings(result, queue))
        return self.classify_features(features, result.brightness)

    def _classify(
        self, features: Floats, timings: Timings, brightness: float | None = None
    ) -> list[ClassificationResult]:
        """Classify features (N, D) that a network returned with these timings."""
        started = time.perf_counter()
        logits, probabilities = self._apply(features)
        if self._head.centers is not None:
            scores = apply.feature_distances(features, self._head.centers, self._head.origin)
        else:
            scores = apply.ood_scores(logits, probabilities, self._ood_method)
        inference = timings.inference + (time.perf_counter() - started) * 1e3
        timings = replace(timings, inference=inference)
        return self._label(probabilities, scores, timings, brightness)

    def _probabilities(self, result: InferenceResult) -> Floats:
        return self._apply(unit_features(result))[1]

    def _apply(self, features: Floats) -> tuple[Floats, Floats]:
        """Return the logits and the calibrated probabilities for normalized features (N, D)."""
        logits = self._head.logits(features)
        try:
            return logits, apply.probabilities(logits, "logits", self._temperature)
        except apply.OutputError as error:
            raise InferenceError(str(error)) from error


AnyClassifier = Classifier | HeadClassifier


def check_backbone(taught: Artifact, preprocess: object, served: Backbone) -> None:
    """Raise ArtifactError unless a taught model was made for the backbone `served`.

    `preprocess` is that of the backbone.
    """
    manifest, folder = taught.manifest, taught.folder
    if manifest.backbone is None:
        raise ArtifactError(f"{folder}: the manifest names no backbone")
    if manifest.backbone.sha256 != served.sha256:
        raise ArtifactError(
            f"{folder}: the model was taught with other weights than those of the served model "
            f"{served.name} (SHA-256 {manifest.backbone.sha256}, not {served.sha256}); teach it "
            "again, or serve the backbone that it was taught with"
        )
    if manifest.preprocess != preprocess:
        raise ArtifactError(
            f"{folder}: preprocess differs from that of the backbone {served.name}; copy it from "
            "the backbone's manifest"
        )
