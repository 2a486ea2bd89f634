"""Features from a local model folder, with the inference code of the backend."""

import asyncio
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from backend.inference import runtimes
from backend.inference.classifier import Classifier
from backend.inference.errors import ImageError, InferenceError, ModelError
from backend.inference.models import artifact
from teach.errors import TeachError
from teach.types import Backbone, Floats


class LocalEmbedding:
    """Returns the features of image files; it is a `teach.types.Embed`.

    Close it, or use it as a context manager. Raise TeachError if the model in `folder` cannot be
    loaded or returns no features.
    """

    def __init__(self, folder: Path) -> None:
        try:
            model = artifact.read(folder)
            self._classifier = Classifier(model, partial(runtimes.load, model))
        except ModelError as error:
            raise TeachError(str(error)) from error
        if (dimensions := self._classifier.dimensions) is None:
            self._classifier.close()
            raise TeachError(f"{folder} returns no features, so that it cannot be a backbone.")
        self._classifier.use_default_plan()
        self.backbone: Final = Backbone(
            name=model.manifest.name,
            version=model.manifest.version,
            sha256=model.network_sha256,
            preprocess=model.manifest.preprocess.model_dump(mode="json"),
            dimensions=dimensions,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local-embedding")
        self._thread.start()

    def __enter__(self) -> "LocalEmbedding":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all threads."""
        self._classifier.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __call__(self, contents: Sequence[bytes]) -> list[Floats | None]:
        """Return the features of each file in order, or None for a file that is no image."""
        return asyncio.run_coroutine_threadsafe(self._embed_all(contents), self._loop).result()

    async def _embed_all(self, contents: Sequence[bytes]) -> list[Floats | None]:
        return await asyncio.gather(*map(self._embed, contents))

    async def _embed(self, content: bytes) -> Floats | None:
        try:
            return await self._classifier.embed(content)
        except ImageError:
            return None
        except InferenceError as error:
            raise TeachError(f"The backbone failed: {error}") from error
