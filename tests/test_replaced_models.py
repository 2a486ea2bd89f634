"""Models of the operator that are replaced while the service runs."""

import asyncio
import gc
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from weakref import ref

import numpy as np
import pytest
from PIL import Image

from backend.catalog import Catalog
from backend.inference import runtimes
from backend.inference.classifier import Classifier
from backend.inference.errors import ArtifactError, UnknownModelError
from backend.inference.models import artifact
from backend.inference.models.artifact import Artifact
from backend.sources.address import Address
from tests.images import encoded
from tests.inference.heads import write_backbone, write_head
from tests.inference.helpers import TIMEOUT

pytestmark = pytest.mark.anyio

RED = encoded(Image.fromarray(np.full((64, 64, 3), (255, 0, 0), np.uint8)))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Classifier]:
    """The classifiers that were closed."""
    monkeypatch.setattr("backend.taught_models._CLOSE_SECONDS", 0.01)
    classifiers: list[Classifier] = []
    close = Classifier.close

    def record(self: Classifier) -> None:
        close(self)
        classifiers.append(self)

    monkeypatch.setattr(Classifier, "close", record)
    return classifiers


def build(model: Artifact) -> Classifier:
    return Classifier(model, partial(runtimes.load, model, "onnx"), threads=1)


async def start(*folders: Path) -> Catalog:
    """Serve model folders under their names; the first one is the default."""

    async def fetch(address: Address) -> Path:
        return Path(address.location)

    addresses = {folder.name: Address(location=str(folder)) for folder in folders}
    catalog = Catalog(addresses, folders[0].name, fetch, build)
    await catalog.start()
    return catalog


@pytest.fixture
async def catalog(tmp_path: Path, closed: list[Classifier]) -> AsyncIterator[Catalog]:
    """A catalog that serves `photos`."""
    catalog = await start(write_backbone(tmp_path / "models"))
    try:
        yield catalog
    finally:
        await catalog.close()
        assert len(closed) == len(set(closed))


def write_version(folder: Path, version: str) -> Path:
    """Write another version of `photos`."""
    path = write_backbone(folder)
    manifest = artifact.read_manifest(path)
    artifact.write_manifest(path, manifest.model_copy(update={"version": version}))
    return path


async def until_closed(closed: list[Classifier], count: int) -> None:
    async with asyncio.timeout(TIMEOUT):
        while len(closed) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_request_in_flight_finishes_on_the_replaced_model(
    catalog: Catalog, tmp_path: Path, closed: list[Classifier]
) -> None:
    held = catalog.get("photos")
    await catalog.replace("photos", write_version(tmp_path / "2", "2"))
    assert (await catalog.get("photos").get_manifest()).version == "2"
    await asyncio.sleep(0.05)
    assert not closed
    await (await held.load()).classify(RED)
    classifier = held.classifier
    del held
    await until_closed(closed, 1)
    assert closed == [classifier]


async def test_model_that_cannot_be_loaded_replaces_nothing(
    catalog: Catalog, tmp_path: Path, closed: list[Classifier]
) -> None:
    current = catalog.get("photos")
    broken = write_version(tmp_path / "2", "2")
    (broken / artifact.ONNX).write_bytes(b"not a graph")
    with pytest.raises(ArtifactError, match="does not match the manifest") as caught:
        await catalog.replace("photos", broken)
    assert str(tmp_path) not in str(caught.value)
    artifact.write_manifest(broken, artifact.read_manifest(broken))
    with pytest.raises(ArtifactError):
        await catalog.replace("photos", broken)
    assert catalog.get("photos") is current
    await (await current.load()).classify(RED)


async def test_network_that_does_not_fit_into_memory_replaces_nothing(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.catalog.free_memory", lambda: 10)
    with pytest.raises(ArtifactError, match="only 0 MB are free"):
        await catalog.replace("photos", write_version(tmp_path / "2", "2"))
    assert (await catalog.get("photos").get_manifest()).version == "1"
    monkeypatch.setattr("backend.catalog.free_memory", lambda: None)
    await catalog.replace("photos", write_version(tmp_path / "3", "3"))


async def test_removed_model_finishes_its_requests(
    tmp_path: Path, closed: list[Classifier]
) -> None:
    models = tmp_path / "models"
    default = write_backbone(tmp_path).rename(tmp_path / "default")
    photos = write_backbone(models)
    catalog = await start(default, photos, write_head(models, backbone=photos))
    try:
        for name, reason in (("default", "default"), ("photos", "backbone of a taught model")):
            with pytest.raises(ArtifactError, match=reason):
                await catalog.remove(name)
        held = await catalog.get("photos").load()
        await catalog.remove("colors")
        await catalog.remove("photos")
        with pytest.raises(UnknownModelError):
            catalog.get("photos")
        await until_closed(closed, 1)
        assert closed == [held]
    finally:
        await catalog.close()


async def test_replaced_networks_are_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[None] = []
    monkeypatch.setattr("backend.catalog.release_freed_memory", lambda: trims.append(None))
    monkeypatch.setattr("backend.taught_models._CLOSE_SECONDS", 0.01)
    catalog = await start(write_backbone(tmp_path / "models"))
    try:
        replaced = []
        for number in range(3):
            replaced.append(ref(await catalog.get("photos").load()))
            await catalog.replace("photos", write_version(tmp_path / str(number), "2"))
        async with asyncio.timeout(TIMEOUT):
            while any(each() for each in replaced) or len(trims) < len(replaced):
                gc.collect()
                await asyncio.sleep(0.01)
    finally:
        await catalog.close()


async def test_replaced_backbone_stays_open_for_its_heads(
    tmp_path: Path, closed: list[Classifier]
) -> None:
    backbone = write_backbone(tmp_path / "models")
    catalog = await start(backbone, write_head(tmp_path / "models", backbone=backbone))
    try:
        colors = await catalog.get("colors").load()
        await catalog.replace("photos", write_version(tmp_path / "2", "2"))
        await asyncio.sleep(0.1)
        assert not closed
        assert (await colors.classify(RED)).top(1)[0].label == "red"
    finally:
        await catalog.close()
    assert len(closed) == 2
