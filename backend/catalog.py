"""The catalog of served models: found and verified at startup, loaded when first asked for."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from backend.inference.classifier import Classifier
from backend.inference.errors import ArtifactError, ModelNotReadyError, UnknownModelError
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.resources.allocator import release_freed_memory
from backend.served_model import ServedModel
from backend.sources.address import Address, parse_address, redact

log = logging.getLogger("prism.catalog")

AUTO: Final = "auto"  # instead of a model: the models in PRISM_AUTO_MODELS, in order
PREFERRED_DEFAULT: Final = "mnist-cnn"

_RESERVED: Final = "the name is reserved for automatic choice; rename the model"


class Catalog:
    """The served models.

    `fetch` returns the local folder of the model at an address, and `build` creates a classifier
    from it. Every model is fetched and verified at startup. The network of the default model is
    loaded then too, others when first asked for, or all with `preload`: networks take most of the
    time and memory. A request waits at most `max_wait` seconds for a model that is still loading.
    `auto` are the models that a request for "auto" asks in order; empty: it asks the default model.
    """

    def __init__(
        self,
        addresses: Mapping[str, Address],
        default: str,
        fetch: Callable[[Address], Awaitable[Path]],
        build: Callable[[Artifact], Classifier],
        max_wait: float = 5.0,
        auto: tuple[str, ...] = (),
        *,
        preload: bool = False,
    ) -> None:
        self.default: Final = default
        self.auto: Final = auto
        self._fetch = fetch
        self._models: Final = {
            name: ServedModel(name, address, build, self._on_loaded, max_wait)
            for name, address in addresses.items()
        }
        self._preloaded: Final = set(self._models) if preload else {self.resolve(None)[0]}
        self._choosing_plans: Final = set[asyncio.Task[None]]()
        self._to_measure: Final = asyncio.Queue[tuple[str, Classifier]]()
        self._has_failed = False

    @property
    def is_loading(self) -> bool:
        """Whether the start of a model is not finished."""
        return any(model.state == "loading" for model in self.models())

    async def start(self) -> None:
        """Verify every model, and load the default one first. A failure affects no other model.

        Models are fetched concurrently, and verified and loaded one at a time.
        """
        lock = asyncio.Lock()
        order = dict.fromkeys((*self.resolve(None), *self._models))
        async with asyncio.TaskGroup() as group:
            for name in order:
                load = name in self._preloaded
                group.create_task(self._models[name].start(self._fetch, lock, load=load))

    def fail(self) -> None:
        """Report that the service is not ready, after an unexpected error while it started.

        Models that are ready stay usable; those that still load have failed.
        """
        self._has_failed = True
        for model in self.models():
            model.fail()

    def resolve(self, name: str | None) -> tuple[str, ...]:
        """Return the models that a request for `name` (None: the default) asks, in order.

        There is one, or several for "auto". Raises UnknownModelError.
        """
        name = name or self.default
        if name == AUTO:
            return self.auto or (self.default,)
        return (self.get(name).name,)

    def get(self, name: str) -> ServedModel:
        """Return the model `name`; raise UnknownModelError if there is none."""
        if name not in self._models:
            names = ", ".join([*self._models, *([AUTO] if self.auto else [])])
            raise UnknownModelError(f"The model is not served. Available models: {names}.")
        return self._models[name]

    def models(self) -> list[ServedModel]:
        """Return all models, sorted by name."""
        return [self._models[name] for name in sorted(self._models)]

    def require_ready(self) -> None:
        """Raise ModelNotReadyError unless the default model is loaded, or after `fail`.

        Of the models that "auto" asks, the first one must be loaded, and the others verified.
        """
        if self._has_failed:
            raise ModelNotReadyError("The service failed to start; its log contains the cause.")
        for name in self.resolve(None):
            if not self._is_started(self._models[name]):
                raise self._models[name].not_ready()

    async def wait_for_default(self) -> None:
        """Wait until the default model, or the first of "auto", is loaded or has failed."""
        await self._models[self.resolve(None)[0]].finish_loading()

    async def measure(self, plans: Path) -> None:
        """Measure the plan of each model that is loaded, while idle; store it in the folder.

        This does not return.
        """
        while True:
            name, classifier = await self._to_measure.get()
            await self._choose_plan(name, partial(classifier.autotune, plans, self._activity))
            # Networks that were compared and not chosen are freed.
            await asyncio.to_thread(release_freed_memory)

    async def close(self) -> None:
        """Finish accepted images and stop the threads of all models."""
        for model in self.models():
            await model.close()

    def _is_started(self, model: ServedModel) -> bool:
        """Return whether a model is verified, and loaded if it is to be loaded at startup."""
        is_loaded = model.classifier is not None or model.name not in self._preloaded
        return model.artifact is not None and is_loaded

    def _on_loaded(self, model: ServedModel, classifier: Classifier) -> None:
        task = asyncio.create_task(self._use_default_plan(model.name, classifier))
        self._choosing_plans.add(task)
        task.add_done_callback(self._choosing_plans.discard)

    async def _use_default_plan(self, name: str, classifier: Classifier) -> None:
        await self._choose_plan(name, classifier.use_default_plan)
        self._to_measure.put_nowait((name, classifier))

    async def _choose_plan(self, name: str, step: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(step)
        except Exception:
            log.exception("could not choose a plan for %s; it keeps its current one", name)

    def _activity(self) -> int | None:
        """Return the number of images so far, of all models; None while some are in flight."""
        counts = [model.classifier.activity for model in self.models() if model.classifier]
        return None if None in counts else sum(count or 0 for count in counts)


def discover(models_dir: Path, names: str = "") -> dict[str, Address]:
    """Return the addresses of the models to serve, by name.

    `names` is a comma-separated list of folder names in `models_dir` and of `name=address` items;
    if it is empty, every model folder is served. Raises ArtifactError if there is no model, an item
    is invalid, or a local model does not exist.
    """
    if items := _split(names):
        return _parse_models(items, models_dir)
    if not models_dir.is_dir():
        raise ArtifactError(f"PRISM_MODELS_DIR: the folder {models_dir} does not exist")
    folders = {path.parent.name: path.parent for path in models_dir.glob(f"*/{artifact.MANIFEST}")}
    if not folders:
        raise ArtifactError(f"PRISM_MODELS_DIR: {models_dir} contains no model folder")
    if AUTO in folders:
        raise ArtifactError(f"PRISM_MODELS_DIR: {folders[AUTO]}: {_RESERVED}")
    return {name: Address(location=str(folder)) for name, folder in sorted(folders.items())}


def choose_auto(names: Mapping[str, object], setting: str, *, strict: bool) -> tuple[str, ...]:
    """Return the served models in the comma-separated `setting`, in order; () for fewer than two.

    Raises ArtifactError for a model that is not served if `strict`.
    """
    items = list(dict.fromkeys(_split(setting)))
    missing = [item for item in items if item not in names]
    if missing and strict:
        raise ArtifactError(
            f"PRISM_AUTO_MODELS: {missing[0]} is not one of the served models: {', '.join(names)}"
        )
    served = tuple(item for item in items if item in names)
    return served if len(served) > 1 else ()


def choose_default(
    names: Mapping[str, object], preferred: str = "", auto: tuple[str, ...] = ()
) -> str:
    """Return the default model: `preferred`, "auto" if it has models, `mnist-cnn`, or the first.

    Raises ArtifactError if `preferred` is not served.
    """
    if preferred == AUTO and not auto:
        raise ArtifactError(
            "PRISM_DEFAULT_MODEL=auto requires that at least two models of PRISM_AUTO_MODELS "
            f"are served; served models: {', '.join(names)}"
        )
    if preferred and preferred not in (*names, AUTO):
        raise ArtifactError(
            f"PRISM_DEFAULT_MODEL={preferred} is not one of the served models: {', '.join(names)}"
        )
    if preferred or auto:
        return preferred or AUTO
    return PREFERRED_DEFAULT if PREFERRED_DEFAULT in names else min(names)


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _parse_models(items: Iterable[str], models_dir: Path) -> dict[str, Address]:
    addresses: dict[str, Address] = {}
    for item in items:
        name, equals, address = item.partition("=")
        try:
            if equals and not re.fullmatch(artifact.NAME_PATTERN, name):
                raise ArtifactError(f"{redact(item)}: write name=address")
            if name in addresses:
                raise ArtifactError(f"{name} is listed twice")
            if name == AUTO:
                raise ArtifactError(f"{AUTO}: {_RESERVED}")
            addresses[name] = parse_address(address if equals else item, models_dir)
            if not equals and Path(item).name != item:
                raise ArtifactError(f"{addresses[name].redacted} has no name: write name=address")
        except ArtifactError as error:
            raise ArtifactError(f"PRISM_MODELS: {error}") from error
    return addresses
