"""Application factory: connects the settings, the models, the history and the API."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from backend import __version__
from backend.api import errors
from backend.api.compat import pixels, protocol
from backend.api.deps import AppState
from backend.api.fast_path import FastPathMiddleware
from backend.api.middleware.access_log import AccessLogMiddleware
from backend.api.middleware.allowed_hosts import AllowedHostsMiddleware
from backend.api.middleware.api_keys import ApiKeyMiddleware
from backend.api.middleware.body_memory import BodyMemoryMiddleware
from backend.api.middleware.draining import DrainingMiddleware, DrainState
from backend.api.middleware.protocol_errors import ProtocolErrorsMiddleware
from backend.api.middleware.quotas import QuotaMiddleware
from backend.api.middleware.security_headers import SecurityHeadersMiddleware
from backend.api.openapi import complete_document, serve_document
from backend.api.routes import (
    classify,
    docs,
    drift,
    embed,
    export,
    health,
    history,
    metrics,
    models,
    registry,
    shadow,
)
from backend.catalog import Catalog, choose_auto, choose_default, discover, find_folders
from backend.history.history import History
from backend.history.monitor import DriftMonitor
from backend.inference import runtimes
from backend.inference.classifier import Classifier
from backend.inference.errors import ArtifactError
from backend.inference.head_classifier import HeadClassifier
from backend.inference.images.image_reader import ImageReader
from backend.inference.large_images import LargeImages
from backend.inference.models.artifact import Artifact
from backend.inference.observer import Observer
from backend.models_folder import ModelsFolder
from backend.registry.errors import StoreUnavailableError
from backend.registry.registry import DEFAULT_MAX_ACTIVE_BYTES, Registry
from backend.registry.storage import FolderStorage, Storage
from backend.resources.cpus import cpu_limit, threads_per_worker
from backend.resources.memory import MemoryShares, memory_limit
from backend.settings import ANY_HOST, Settings
from backend.shadows import Shadows
from backend.sources.polling import SourcePoller
from backend.sources.resolver import ModelResolver
from backend.telemetry import traces
from backend.telemetry.metrics import Metrics

log = logging.getLogger("prism.app")

DESCRIPTION = (
    "Classifies images. Errors are RFC 9457 problem details with an error code and a request ID. "
    "The header X-Request-Timeout sets the deadline of a classification, in seconds. HEAD is "
    "supported where GET is."
)


def create_app(
    settings: Settings | None = None,
    load_runtime: Callable[..., runtimes.Runtime] = runtimes.load,
) -> FastAPI:
    """Create the application; it loads models in the background once it starts.

    Tests replace `load_runtime`. Raises ArtifactError if there is no model to serve.
    """
    settings = settings or Settings()
    addresses = discover(settings.models_dir, settings.models)
    counts = Metrics(errors.code_of)
    tracing = traces.start()
    is_explicit = "auto_models" in settings.model_fields_set
    auto = choose_auto(addresses, settings.auto_models, strict=is_explicit)
    default = choose_default(addresses, settings.default_model, auto)
    limit = memory_limit()
    shares = MemoryShares.from_limit(limit // settings.workers) if limit else None
    reader = ImageReader(settings.max_pixels, shares.decoding if shares else None)
    threads = settings.threads or threads_per_worker(cpu_limit(), settings.workers)

    taught = _create_registry(settings, limit)

    def observe(name: str) -> Observer:
        return counts.observer(name, tracing.stage_spans(name) if tracing else None)

    def build(large_images: LargeImages, artifact: Artifact) -> Classifier:
        # Only a measured plan uses them.
        alternatives = (
            runtimes.alternatives(artifact, settings.runtime, settings.precision)
            if settings.measure
            else []
        )
        return Classifier(
            artifact,
            partial(load_runtime, artifact, settings.runtime),
            threads=threads,
            reader=reader,
            large_images=large_images,
            alternatives=alternatives,
            max_batch=settings.max_batch,
            queue_size=settings.queue_size,
            scaled_decoding=settings.scaled_decoding,
            memory=shares.inference if shares else None,
            observer=observe(artifact.manifest.name),
        )

    def build_head(artifact: Artifact, backbone: Classifier) -> HeadClassifier:
        return HeadClassifier(artifact, backbone, observer=observe(artifact.manifest.name))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[AppState]:
        resolver = ModelResolver(
            settings.data_dir / "models",
            max_bytes=settings.source_max_bytes,
            seconds=settings.source_timeout,
            cache_bytes=settings.cache_max_bytes,
            allow_private=settings.allow_private_sources,
        )
        large_images = LargeImages(reader, threads)
        catalog = Catalog(
            addresses,
            default,
            resolver.resolve,
            partial(build, large_images),
            build_head=build_head,
            max_wait=settings.timeout,
            auto=auto,
            preload=settings.preload,
            registry=taught,
        )
        models_folder = ModelsFolder(
            partial(find_folders, settings.models_dir, settings.models, addresses),
            catalog.replace,
            None if settings.models else catalog.remove,
            known=addresses,
        )
        poller = SourcePoller(addresses, resolver, catalog.replace, settings.source_poll)
        if catalog.taught and not taught.is_remote:  # a bucket may take long: it is read later
            with suppress(StoreUnavailableError):  # `run` tries again
                await catalog.taught.read()
        app_history = _create_history(settings, reader)
        drift_monitor = (
            DriftMonitor(lambda: app_history.store, catalog, counts.set_drift)
            if app_history
            else None
        )
        shadows = (
            Shadows(catalog.taught.find_shadow, lambda: app_history.store, catalog.activity)
            if app_history and catalog.taught
            else None
        )

        async def follow_registry() -> None:
            await catalog.wait_for_default()  # taught models must not delay it
            if catalog.taught is not None:
                await catalog.taught.run()

        async def load() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(catalog.start())
                await catalog.wait_for_default()
                if app_history is not None:
                    await app_history.start()  # late: its imports would delay the first response
            await asyncio.to_thread(resolver.trim)
            async with asyncio.TaskGroup() as group:
                group.create_task(poller.run())
                group.create_task(models_folder.run())
                if settings.measure:
                    group.create_task(catalog.measure(settings.data_dir / "plans"))

        def reload() -> None:
            log.info("reading the models again")
            for follower in (models_folder, poller, catalog.taught):
                if follower is not None:
                    follower.wakeup.set()

        async def load_or_fail() -> None:
            try:
                await load()
            except Exception:
                log.exception("loading failed: the service stays up and is not ready")
                catalog.fail()

        state = AppState(
            catalog=catalog,
            settings=settings,
            metrics=counts,
            history=app_history,
            drift_monitor=drift_monitor,
            shadows=shadows,
            image_reader=reader,
            reload=reload,
        )
        # In the background, so that /health responds while the models load.
        background = [asyncio.create_task(load_or_fail()), asyncio.create_task(follow_registry())]
        try:
            async with _serve_grpc(app, settings, state, shares):
                yield state
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            if shadows is not None:
                await shadows.close()
            await catalog.close()
            await asyncio.to_thread(large_images.close)
            if app_history is not None:
                await app_history.close()
            if tracing:
                await asyncio.to_thread(tracing.close)

    app = FastAPI(
        title="Prism",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=None,  # serve_document renders the document once
        docs_url=None,  # routes/docs.py serves the page without a content delivery network
        redoc_url=None,
        lifespan=lifespan,
        telemetry=tracing.config if tracing else traces.DISABLED,
    )
    app.state.drain_state = DrainState()
    app.add_middleware(FastPathMiddleware)
    if shares:
        app.add_middleware(
            BodyMemoryMiddleware,
            max_bytes=shares.files,
            trusted_proxies=settings.trusted_proxies,
        )
    if tracing:
        app.add_middleware(tracing.annotate_spans)
    if keys := settings.accepted_keys:
        app.add_middleware(QuotaMiddleware, keys=keys)
        app.add_middleware(ApiKeyMiddleware, keys=keys)
    if settings.allowed_hosts != ANY_HOST:
        names = settings.allowed_host_names or (() if settings.is_local else None)
        app.add_middleware(AllowedHostsMiddleware, hosts=names, is_local=settings.is_local)
    app.add_middleware(DrainingMiddleware, state=app.state.drain_state)
    protocols = protocol.load(settings)
    if protocols:
        app.add_middleware(ProtocolErrorsMiddleware, protocols=protocols)
    app.add_middleware(SecurityHeadersMiddleware)
    # The outermost middleware, so that all others can use the request ID.
    app.add_middleware(AccessLogMiddleware, metrics=counts)
    errors.install_handlers(app)
    protocol.install(app, protocols)  # first: AIP_PREDICT_ROUTE can be /predict
    for module in (
        classify,
        embed,
        models,
        registry,
        shadow,
        export,
        history,
        drift,
        health,
        metrics,
        docs,
        pixels,
    ):
        app.include_router(module.router)
    complete_document(app)
    serve_document(app)
    return app


@asynccontextmanager
async def _serve_grpc(
    app: FastAPI, settings: Settings, state: AppState, shares: MemoryShares | None
) -> AsyncIterator[None]:
    """Serve the Open Inference Protocol over gRPC in the block, if its port is set."""
    if not settings.grpc_port:
        yield
        return
    from backend.api.compat.grpc_server import GrpcServer  # gRPC is optional, and imports slowly

    budget = shares.files if shares else None
    server = GrpcServer(app, settings, dict(state), app.state.drain_state, budget)
    log.info("gRPC on port %d", await server.start())
    running = asyncio.create_task(server.run())
    try:
        yield
    finally:
        running.cancel()
        await server.stop()


def _create_registry(settings: Settings, memory: int | None) -> Registry:
    max_active_bytes = DEFAULT_MAX_ACTIVE_BYTES
    if memory:
        max_active_bytes = min(memory // settings.workers // 12, max_active_bytes)
    storage: Storage
    if settings.model_store.startswith("gs://"):
        try:
            from backend.registry.bucket import BucketStorage
        except ModuleNotFoundError as error:
            raise ArtifactError(
                "PRISM_MODEL_STORE: gs:// needs google-cloud-storage; run "
                "`pip install -r requirements/gcs.txt`"
            ) from error

        storage = BucketStorage(settings.model_store, settings.data_dir / "registry-copies")
    else:
        storage = FolderStorage(Path(settings.model_store or settings.data_dir / "registry"))
    return Registry(
        storage, max_bytes=settings.model_store_max_bytes, max_active_bytes=max_active_bytes
    )


def _create_history(settings: Settings, reader: ImageReader) -> History | None:
    if not settings.history:
        return None
    return History(
        settings.database_url,
        settings.data_dir,
        days=settings.history_days,
        image_reader=reader if settings.history_images else None,
    )
