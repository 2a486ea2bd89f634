"""A served model: fetched and verified at startup, loaded when it is first asked for."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from backend.inference.classifier import Classifier
from backend.inference.errors import ArtifactError, ModelError, ModelNotReadyError
from backend.inference.head_classifier import AnyClassifier, HeadClassifier
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact, Manifest
from backend.sources.address import Address

log = logging.getLogger("prism.catalog")

_UNEXPECTED_FAILURE: Final = "could not be loaded; see the log of the service"

State = Literal["loading", "ready", "failed"]


class ServedModel:
    """One model of the catalog.

    `state` is loading while the model is fetched, verified and, if requested, loaded; then it is
    ready. `manifest` is set once the model is verified, `classifier` once the network is loaded,
    `error` once the model has failed. Used on one event loop.
    """

    def __init__(
        self,
        name: str,
        address: Address,
        build: Callable[[Artifact], AnyClassifier],
        on_loaded: Callable[["ServedModel", AnyClassifier], None],
        max_wait: float,
        *,
        version: str | None = None,
        find_backbone: Callable[[Artifact], Awaitable["ServedModel"]] | None = None,
        build_head: Callable[[Artifact, Classifier], AnyClassifier] = HeadClassifier,
    ) -> None:
        """`build` creates the classifier, in a thread; a caller waits at most `max_wait` seconds.

        `find_backbone` returns the verified backbone of a taught model, or raises ArtifactError;
        `build_head` creates the classifier of a taught model.
        `on_loaded` is called on the event loop. `version` replaces that of the manifest.
        """
        self.name: Final = name
        self.state: State = "loading"
        self.artifact: Artifact | None = None
        self.is_taught = False  # until its manifest is read
        self.classifier: AnyClassifier | None = None
        self.error: str | None = None
        self._address = address
        self._build = build
        self._on_loaded = on_loaded
        self._max_wait = max_wait
        self._version = version
        self._find_backbone = find_backbone
        self._build_head = build_head
        self._folder: Path | None = None
        self._is_verified = asyncio.Event()  # or has failed
        self._loading: asyncio.Task[None] | None = None

    @property
    def is_registered(self) -> bool:
        """Whether the model is from the registry."""
        return self._version is not None

    @property
    def manifest(self) -> Manifest | None:
        """The manifest, once the model is verified."""
        return self.artifact.manifest if self.artifact else None

    async def start(
        self, fetch: Callable[[Address], Awaitable[Path]], lock: asyncio.Lock, *, load: bool
    ) -> None:
        """Fetch the model, and with the `lock` verify its files and, if requested, load it.

        A taught model is loaded without the lock, which its backbone may need.
        """
        try:
            self._folder = await fetch(self._address)
            async with lock:
                found = await asyncio.to_thread(_read, self._folder, self.name, self._version)
                if found.manifest.backbone is None:
                    await self._set_verified(found, load=load)
            if found.manifest.backbone is not None:
                self.is_taught = True
                await self._get_backbone(found)
                await self._set_verified(found, load=load)
            if self.state == "loading":
                self.state = "ready"
        except Exception as error:
            self._set_failed(error)

    async def load(self, max_wait: float | None = None) -> AnyClassifier:
        """Return the classifier; load the network if it is not loaded yet.

        Wait at most `max_wait` seconds. Concurrent callers wait for the same network. Loading
        continues if a caller is cancelled or waits no longer. Raise ModelNotReadyError if the model
        has failed or is not loaded in time.
        """
        if self.classifier is not None:
            return self.classifier
        with suppress(TimeoutError):
            async with asyncio.timeout(self._shorten(max_wait)):
                await self._is_verified.wait()
                await asyncio.wait([self._start_loading()])
        return self._require_classifier()

    async def finish_loading(self) -> None:
        """Wait until the model is verified, and loaded or failed, however long it takes."""
        await self._is_verified.wait()
        await asyncio.wait([self._start_loading()])

    async def wait_until_verified(self) -> None:
        """Wait until the model is verified or has failed, however long it takes."""
        await self._is_verified.wait()

    async def get_manifest(self) -> Manifest:
        """Return the manifest; wait for a model that is not verified yet, as `load` does."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_verified.wait(), self._max_wait)
        if self.manifest is None:
            raise self.not_ready()
        return self.manifest

    def not_ready(self) -> ModelNotReadyError:
        """Return the error for a model that cannot be used now."""
        state = "could not be loaded" if self.state == "failed" else "is still loading"
        return ModelNotReadyError(f"The model {self.name} {state}.")

    def fail(self) -> None:
        """Report an unexpected failure of a model that is not verified yet."""
        if self.state == "loading":
            self.state, self.error = "failed", _UNEXPECTED_FAILURE
            self._is_verified.set()

    async def close(self) -> None:
        """Finish accepted images and stop the threads."""
        if self._loading is not None:
            await self._loading  # its thread cannot be cancelled
        if self.classifier is not None:
            await asyncio.to_thread(self.classifier.close)

    async def _set_verified(self, model: Artifact, *, load: bool) -> None:
        self.artifact = model
        self._is_verified.set()
        if load:
            await self.finish_loading()

    async def _get_backbone(self, model: Artifact) -> "ServedModel":
        """Return the verified backbone of a taught model; raise ArtifactError if there is none."""
        if self._find_backbone is None:
            raise ArtifactError(f"{model.folder}: a taught model needs its backbone")
        return await self._find_backbone(model)

    async def _create_classifier(self, model: Artifact) -> AnyClassifier:
        if model.manifest.backbone is None:
            return await asyncio.to_thread(self._build, model)
        backbone = await self._get_backbone(model)
        await backbone.finish_loading()
        if not isinstance(backbone.classifier, Classifier):
            raise ArtifactError(f"{model.folder}: the backbone {backbone.name} cannot be loaded")
        return await asyncio.to_thread(self._build_head, model, backbone.classifier)

    def _require_classifier(self) -> AnyClassifier:
        if self.classifier is None:
            raise self.not_ready()
        return self.classifier

    def _shorten(self, max_wait: float | None) -> float:
        return self._max_wait if max_wait is None else min(max_wait, self._max_wait)

    def _start_loading(self) -> asyncio.Task[None]:
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        return self._loading

    async def _load(self) -> None:
        if self.artifact is None:
            return
        started = time.perf_counter()
        try:
            classifier = await self._create_classifier(self.artifact)
        except Exception as error:
            self._set_failed(error)
            return
        self.classifier = classifier
        seconds = time.perf_counter() - started
        log.info("%s is loaded (%s, %.2f s)", self.name, classifier.runtime_name, seconds)
        self._on_loaded(self, classifier)

    def _set_failed(self, error: Exception) -> None:
        self.state, self.error = "failed", self._failure_message(error)
        log.error("%s failed: %s", self.name, error, exc_info=_is_unexpected(error))
        self._is_verified.set()

    def _failure_message(self, error: Exception) -> str:
        """Return why the model failed, without local paths, which only the log contains."""
        if _is_unexpected(error):
            return _UNEXPECTED_FAILURE
        reason = str(error).replace(str(self._folder), self.name)
        is_local = self._address.scheme == "file"
        return reason.replace(self._address.location, self.name) if is_local else reason


def _read(folder: Path, name: str, version: str | None) -> Artifact:
    model = artifact.read(folder)
    # Responses contain the name that the operator chose, and the version that the registry chose.
    version = version or model.manifest.version
    manifest = model.manifest.model_copy(update={"name": name, "version": version})
    return model.model_copy(update={"manifest": manifest})


def _is_unexpected(error: Exception) -> bool:
    return not isinstance(error, ModelError)
