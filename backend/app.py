"""The only wiring point: settings in, application out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from backend import __version__
from backend.api import errors
from backend.api.compat import pixels
from backend.api.deps import State
from backend.api.fast_path import Shortcut
from backend.api.middleware.access_log import RequestId
from backend.api.middleware.api_keys import Keys
from backend.api.middleware.body_memory import Bodies
from backend.api.middleware.draining import Drain, Draining
from backend.api.routes import classify, health, history, metrics, models
from backend.catalog import Catalog, choose_default, discover
from backend.history.history import History
from backend.inference import runtimes
from backend.inference.classifier import Classifier
from backend.inference.images.image_reader import Reader
from backend.inference.models.artifact import Artifact
from backend.resources.cpus import cores, cpu_limit
from backend.resources.memory import Shares, memory_limit
from backend.settings import Settings
from backend.sources.library import Library
from backend.telemetry import traces
from backend.telemetry.metrics import Metrics

DESCRIPTION = "Classifies pictures. Errors are RFC 9457 problems with a code and a request id."


def create_app(
    settings: Settings | None = None,
    load_runtime: Callable[..., runtimes.Runtime] = runtimes.load,
) -> FastAPI:
    """Build the application; models are found now and loaded once it starts.

    `load_runtime` is `runtimes.load`, or a test's stand-in for it. Raises ArtifactError where
    there is no model to serve.
    """
    settings = settings or Settings()
    addresses = discover(settings.models_dir, settings.models)
    counts = Metrics(errors.code_of)
    tracing = traces.start()
    default = choose_default(addresses, settings.default_model)
    limit = memory_limit()
    shares = Shares.of(limit // settings.workers) if limit else None
    reader = Reader(settings.max_pixels, shares.decoding if shares else None)

    def build(artifact: Artifact) -> Classifier:
        name = artifact.manifest.name
        counted = counts.observer(name)
        return Classifier(
            artifact,
            partial(load_runtime, artifact, settings.runtime),
            threads=settings.threads or cores(cpu_limit(), settings.workers),
            reader=reader,
            max_batch=settings.max_batch,
            queue_size=settings.queue_size,
            scaled_decoding=settings.scaled_decoding,
            observer=tracing.observer(counted, name) if tracing else counted,
        )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        library = Library(
            settings.data_dir / "models",
            max_bytes=settings.source_max_bytes,
            seconds=settings.source_timeout,
            cache_bytes=settings.cache_max_bytes,
            allow_private=settings.allow_private_sources,
        )
        catalog = Catalog(addresses, default, library.obtain, build, patience=settings.timeout)
        past = _history(settings, reader)

        async def load() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(catalog.load())
                await catalog.entry(default).settled.wait()
                if past is not None:
                    await past.start()  # late: what it imports would hold up the first answer
            await catalog.tune(settings.data_dir / "plans" if settings.measure else None)
            await asyncio.to_thread(library.trim)

        # In the background, so that /health answers while the models load.
        loading = asyncio.create_task(load())
        try:
            yield State(catalog=catalog, settings=settings, metrics=counts, history=past)
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            await asyncio.to_thread(catalog.close)
            if past is not None:
                await past.close()
            if tracing:
                await asyncio.to_thread(tracing.close)

    app = FastAPI(
        title="Prism",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        telemetry=tracing.config if tracing else traces.OFF,
    )
    app.state.drain = Drain()
    app.add_middleware(Shortcut)
    if shares:
        app.add_middleware(Bodies, most=shares.files)
    if tracing:
        app.add_middleware(tracing.annotate)
    if settings.key_hashes:
        app.add_middleware(Keys, hashes=settings.key_hashes)
    app.add_middleware(Draining, drain=app.state.drain)
    # The outermost: what is further in knows the id.
    app.add_middleware(RequestId, metrics=counts)
    errors.install(app)
    for module in (classify, models, history, health, metrics, pixels):
        app.include_router(module.router)
    return app


def _history(settings: Settings, reader: Reader) -> History | None:
    if not settings.history:
        return None
    return History(
        settings.database_url,
        settings.data_dir,
        days=settings.history_days,
        pictures=reader if settings.history_images else None,
    )
