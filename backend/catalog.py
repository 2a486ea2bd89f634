"""The catalog of served models: found and verified at startup, loaded when first asked for."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Final
from weakref import ref

from backend.inference.classifier import Classifier
from backend.inference.errors import ArtifactError, ModelNotReadyError, UnknownModelError
from backend.inference.head_classifier import AnyClassifier, HeadClassifier, check_backbone
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact, Backbone
from backend.registry.registry import Registry
from backend.resources.allocator import release_freed_memory
from backend.resources.memory import free_memory
from backend.served_model import ServedModel
from backend.sources.address import Address, parse_address, redact
from backend.taught_models import LATEST, TaughtModels, close_unused

log = logging.getLogger("prism.catalog")

AUTO: Final = "auto"  # instead of a model: the models in PRISM_AUTO_MODELS, in order
PREFERRED_DEFAULT: Final = "mnist-cnn"

_MAX_LISTED: Final = 50  # models in an error message
_MEMORY_FACTOR: Final = 2  # of a loaded network, relative to its weights in float32
_RESERVED: Final = "the name is reserved for automatic choice; rename the model"


class Catalog:
    """The served models.

    `fetch` returns the local folder of the model at an address, and `build` creates a classifier
    from it. Every model is fetched and verified at startup. The network of the default model is
    loaded then too, others when first asked for, or all with `preload`: networks take most of the
    time and memory. A request waits at most `max_wait` seconds for a model that is still loading.
    `auto` are the models that a request for "auto" asks in order; empty: it asks the default model.
    With a `registry`, its taught models are served, too, as described in `TaughtModels`.
    """

    def __init__(
        self,
        addresses: Mapping[str, Address],
        default: str,
        fetch: Callable[[Address], Awaitable[Path]],
        build: Callable[[Artifact], AnyClassifier],
        max_wait: float = 5.0,
        auto: tuple[str, ...] = (),
        *,
        preload: bool = False,
        registry: Registry | None = None,
        build_head: Callable[[Artifact, Classifier], AnyClassifier] = HeadClassifier,
    ) -> None:
        self.default: Final = default
        self.auto: Final = auto
        self._fetch = fetch

        def create(name: str, address: Address) -> ServedModel:
            return ServedModel(
                name,
                address,
                build,
                self._on_loaded,
                max_wait,
                find_backbone=self._find_backbone,
                build_head=build_head,
            )

        self._create = create
        self._models: Final = {name: create(name, each) for name, each in addresses.items()}
        self._replacing: Final = asyncio.Lock()
        self._retiring: Final = set[asyncio.Task[None]]()

        self._reserved: Final = {AUTO, *addresses}

        def create_taught(name: str, version: str) -> ServedModel:
            # They run on the plan of their backbone, so `on_loaded` has nothing to measure.
            address = Address(location=f"registry://{name}")
            return ServedModel(
                name,
                address,
                build,
                lambda *_: None,
                max_wait,
                version=version,
                find_backbone=self._find_backbone,
                build_head=build_head,
            )

        self.taught: Final = (
            TaughtModels(registry, create_taught, self._reserved) if registry else None
        )
        self._preloaded: Final = set(self._models) if preload else {self.resolve(None)[0]}
        self._choosing_plans: Final = set[asyncio.Task[None]]()
        # Weak: nothing takes them where plans are not measured.
        self._to_measure: Final = asyncio.Queue[tuple[str, ref[AnyClassifier]]]()
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
        self.get(name)
        return (name,)

    def get(self, name: str) -> ServedModel:
        """Return the model `name`, or `name@version` in that version; `name@latest` is the newest.

        Raise UnknownModelError if there is none, and ModelNotReadyError while taught models are
        still found.
        """
        if name in self._models:
            return self._models[name]
        base, at, version = name.partition("@")
        model: ServedModel | None = None
        if at and version and base in self._models:
            model = self._models[base]
            is_served = version == LATEST or (model.manifest and model.manifest.version == version)
            model = model if is_served else None
        elif self.taught and bool(at) == bool(version):
            model = self.taught.find(base, version)
        if model is None:
            raise self._unknown(base)
        return model

    def models(self) -> list[ServedModel]:
        """Return all models, sorted by name."""
        taught = self.taught.models() if self.taught else ()
        return sorted([*self._models.values(), *taught], key=attrgetter("name"))

    def latest_version(self, name: str) -> str | None:
        """Return the version that a request for `name@latest` gets; None while it is not known."""
        taught = self.taught.latest_version(name) if self.taught else None
        return taught or self.active_version(name)

    def active_version(self, name: str) -> str | None:
        """Return the version that a request for `name` gets; None while it is not known."""
        served = next((model for model in self.models() if model.name == name), None)
        return served.manifest.version if served and served.manifest else None

    def created(self, name: str, version: str) -> datetime | None:
        """Return when a version of a taught model was added; None if it is not known.

        A model that is deleted and taught again starts with version 1 again.
        """
        return self.taught.created(name, version) if self.taught else None

    def activity(self) -> int | None:
        """Return the number of images so far, of all models; None while some are in flight."""
        counts = [model.classifier.activity for model in self.models() if model.classifier]
        return None if None in counts else sum(count or 0 for count in counts)

    def is_reserved(self, name: str) -> bool:
        """Return whether a name is `auto` or that of a model of the operator."""
        return name == AUTO or name in self._models

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
            name, reference = await self._to_measure.get()
            classifier = reference()
            if classifier and any(each.classifier is classifier for each in self._models.values()):
                await self._choose_plan(name, partial(classifier.autotune, plans, self.activity))
                # Networks that were compared and not chosen are freed.
                await asyncio.to_thread(release_freed_memory)
            del classifier  # it may be replaced while this waits for the next one

    async def replace(self, name: str, folder: Path) -> None:
        """Serve the model in `folder` under the name of a model of the operator, or a new name.

        It is verified and loaded beside the current one, which finishes its requests and is then
        closed. If that fails, or if both do not fit into memory, the current one stays; raise
        ArtifactError with the reason.
        """
        if name not in self._models and (name == AUTO or self._is_taught(name)):
            raise ArtifactError(f"{name}: the name is reserved, or that of a taught model")

        async def fetch(_: Address) -> Path:
            return folder

        async with self._replacing:  # at most one network more than usual is in memory
            model = self._create(name, Address(location=str(folder)))
            await asyncio.to_thread(_require_memory, name, folder)
            try:
                await model.start(fetch, asyncio.Lock(), load=True)
            except asyncio.CancelledError:
                await model.close()
                raise
            if model.classifier is None:
                raise ArtifactError(model.error or f"{name}: the model cannot be loaded")
            replaced = self._models.get(name)
            self._models[name] = model
            self._reserved.add(name)
        if replaced is not None:
            self._retire(replaced)

    async def remove(self, name: str) -> None:
        """Serve a model of the operator no longer; its requests in flight finish.

        Raise ArtifactError if the default model, `auto` or a taught model needs it.
        """
        async with self._replacing:
            if name in (self.default, *self.auto):
                raise ArtifactError("it is the default model, or one that auto asks")
            manifests = [model.manifest for model in self._in_memory()]
            if any(each and each.backbone and each.backbone.name == name for each in manifests):
                raise ArtifactError("it is the backbone of a taught model")
            if name in self._models:
                self._retire(self._models.pop(name))
                self._reserved.discard(name)

    async def close(self) -> None:
        """Finish accepted images and stop the threads of all models."""
        if self.taught:
            await self.taught.close()  # before their backbones
        await asyncio.sleep(0)  # a task that has not started would not close its model
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        for model in self._models.values():
            await model.close()

    def _retire(self, model: ServedModel) -> None:
        async def close(closing: Coroutine[None, None, None]) -> None:
            await closing
            await asyncio.to_thread(release_freed_memory)

        task = asyncio.create_task(
            close(close_unused(ref(model), model.classifier, self._is_backbone))
        )
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _in_memory(self) -> list[ServedModel]:
        return [*self._models.values(), *(self.taught.in_memory() if self.taught else ())]

    def _is_taught(self, name: str) -> bool:
        return self.taught is not None and any(each.name == name for each in self.taught.models())

    def _unknown(self, name: str) -> UnknownModelError:
        versions = self.taught.describe_versions(name) if self.taught else ""
        names = [model.name for model in self.models()]
        more = ", …" if len(names) > _MAX_LISTED else ""
        listed = ", ".join([*names[:_MAX_LISTED], *([AUTO] if self.auto else [])]) + more
        return UnknownModelError(f"The model is not served. Available models: {listed}.{versions}")

    def _is_backbone(self, classifier: AnyClassifier) -> bool:
        """Return whether a taught model that is in memory uses the network of `classifier`."""
        return any(
            isinstance(model.classifier, HeadClassifier) and model.classifier.network is classifier
            for model in self._in_memory()
        )

    async def _find_backbone(self, taught: Artifact) -> ServedModel:
        """Return the verified backbone of a taught model; raise ArtifactError if it does not fit.

        Only the models of the operator can be backbones.
        """
        assert taught.manifest.backbone is not None  # noqa: S101
        name = taught.manifest.backbone.name
        model = self._models.get(name)
        if model is None:
            raise ArtifactError(
                f"{taught.folder}: the backbone {name} is not served; serve it, too, for example "
                f"with {name} in PRISM_MODELS"
            )
        if not model.is_taught:  # else two of them could wait for each other
            await model.wait_until_verified()
        if model.is_taught or model.artifact is None:
            reason = "is a taught model itself" if model.is_taught else "could not be verified"
            raise ArtifactError(f"{taught.folder}: the backbone {name} {reason}")
        served = Backbone(name=name, sha256=model.artifact.network_sha256)
        check_backbone(taught, model.artifact.manifest.preprocess, served)
        return model

    def _is_started(self, model: ServedModel) -> bool:
        """Return whether a model is verified, and loaded if it is to be loaded at startup."""
        is_loaded = model.classifier is not None or model.name not in self._preloaded
        return model.artifact is not None and is_loaded

    def _on_loaded(self, model: ServedModel, classifier: AnyClassifier) -> None:
        task = asyncio.create_task(self._use_default_plan(model.name, classifier))
        self._choosing_plans.add(task)
        task.add_done_callback(self._choosing_plans.discard)

    async def _use_default_plan(self, name: str, classifier: AnyClassifier) -> None:
        await self._choose_plan(name, classifier.use_default_plan)
        self._to_measure.put_nowait((name, ref(classifier)))

    async def _choose_plan(self, name: str, step: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(step)
        except Exception:
            log.exception("could not choose a plan for %s; it keeps its current one", name)


def _require_memory(name: str, folder: Path) -> None:
    """Raise ArtifactError unless the network in `folder` fits into the free memory."""
    try:
        manifest = artifact.read_manifest(folder)
    except ArtifactError:  # reported when the model is verified
        return
    paths = [folder / each for each in (artifact.ONNX, artifact.WEIGHTS) if each in manifest.files]
    stored = sum(path.stat().st_size for path in paths if path.is_file())
    needed = _MEMORY_FACTOR * max(stored, 4 * (manifest.elements or 0))
    free = free_memory()
    if free is not None and needed > free:
        raise ArtifactError(
            f"{name}: the network needs about {needed >> 20:,} MB of memory beside the models that "
            f"are served, but only {free >> 20:,} MB are free"
        )


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


def find_folders(models_dir: Path, names: str, addresses: Mapping[str, Address]) -> dict[str, Path]:
    """Return the local folders to serve by name: those at `addresses`, and new ones.

    With `names`, as in `discover`, there are no new ones.
    """
    folders = {
        name: each.folder for name, each in addresses.items() if each.folder and not each.pin
    }
    if not names:
        for path in models_dir.glob(f"*/{artifact.MANIFEST}"):
            if re.fullmatch(artifact.NAME_PATTERN, path.parent.name):
                folders.setdefault(path.parent.name, path.parent)
    return folders


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
