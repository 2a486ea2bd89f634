"""Taught models that are added, replaced and removed while the service runs."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from backend.catalog import Catalog
from backend.inference.classifier import Classifier
from backend.inference.errors import ArtifactError, ModelNotReadyError, UnknownModelError
from backend.inference.models.artifact import Artifact
from backend.inference.runtimes.fake_runtime import FakeRuntime
from backend.registry.errors import InvalidModelError, StoreUnavailableError
from backend.registry.index import NewVersion
from backend.registry.registry import Registry
from backend.registry.storage import FolderStorage
from backend.sources.address import Address
from backend.taught_models import TaughtModels
from tests.fake_models import write_model
from tests.images import encoded, seven
from tests.inference.helpers import TIMEOUT

SEVEN = encoded(seven())


class Builder:
    """Builds classifiers of fake networks; those of a model with the title "broken" fail."""

    def __init__(self) -> None:
        self.built: list[Classifier] = []

    def __call__(self, artifact: Artifact) -> Classifier:
        """Return a classifier of `artifact`."""
        if artifact.manifest.title == "broken":
            raise ArtifactError(f"{artifact.folder}: the head is damaged")
        runtime = FakeRuntime(len(artifact.manifest.labels))
        classifier = Classifier(artifact, lambda *_, **__: runtime, threads=1)
        self.built.append(classifier)
        return classifier


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(FolderStorage(tmp_path / "registry"))


@pytest.fixture
def builder() -> Builder:
    return Builder()


@pytest.fixture
async def catalog(tmp_path: Path, registry: Registry, builder: Builder) -> AsyncIterator[Catalog]:
    folder = write_model(tmp_path / "models", "digits", version="7")

    async def fetch(address: Address) -> Path:
        return Path(address.location)

    catalog = Catalog(
        {"digits": Address(location=str(folder))}, "digits", fetch, builder, registry=registry
    )
    await catalog.start()
    try:
        yield catalog
    finally:
        await catalog.close()


@pytest.fixture
def add(registry: Registry, tmp_path: Path) -> Callable[..., int]:
    """Return a function that publishes a version of a model, with the given title."""
    numbers = iter(range(1000))

    def publish(title: str, name: str = "bugs", *, activate: bool = True) -> int:
        folder = write_model(tmp_path / str(next(numbers)), name, title=title)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        new = NewVersion(id=registry.store(files), bytes=1000, labels=("a", "b"))
        return registry.publish(name, new, activate=activate).version

    return publish


def taught(catalog: Catalog) -> TaughtModels:
    assert catalog.taught is not None
    return catalog.taught


async def title(catalog: Catalog, name: str = "bugs") -> str:
    return (await catalog.get(name).load()).manifest.title


def titles(catalog: Catalog) -> list[str]:
    """Return the titles of the active versions."""
    return [each.manifest.title for each in taught(catalog).models() if each.manifest]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


pytestmark = pytest.mark.anyio


async def test_published_version_is_served_under_its_number(
    catalog: Catalog, add: Callable[..., int]
) -> None:
    add("first")
    await taught(catalog).refresh()
    manifest = (await catalog.get("bugs").load()).manifest
    assert (manifest.name, manifest.version, manifest.title) == ("bugs", "1", "first")
    assert [model.name for model in catalog.models()] == ["bugs", "digits"]
    await catalog.get("bugs").classifier.classify(SEVEN)  # type: ignore[union-attr]


async def test_loaded_version_replaces_the_active_one(
    catalog: Catalog, add: Callable[..., int], registry: Registry
) -> None:
    add("first")
    await taught(catalog).refresh()
    add("second")
    await taught(catalog).refresh()
    assert await title(catalog) == "second"
    registry.activate("bugs", 1)
    await taught(catalog).refresh()
    assert await title(catalog) == "first"


async def test_changes_are_applied_while_the_service_runs(
    catalog: Catalog, add: Callable[..., int]
) -> None:
    following = asyncio.create_task(taught(catalog).run())
    for text in ("first", "second"):
        await asyncio.to_thread(add, text)
        await until(lambda text=text: titles(catalog) == [text])  # type: ignore[misc]
    following.cancel()


async def test_abandoned_files_are_removed_while_the_service_runs(
    catalog: Catalog, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    monkeypatch.setattr("backend.taught_models.ORPHAN_SECONDS", 0.0)
    monkeypatch.setattr(registry, "remove_orphans", lambda: calls.append(None))
    following = asyncio.create_task(taught(catalog).run())
    await until(lambda: len(calls) > 1)
    following.cancel()


async def test_version_that_cannot_be_loaded_never_replaces_one_that_works(
    catalog: Catalog, add: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    add("first")
    await taught(catalog).refresh()
    add("broken")
    with caplog.at_level(logging.ERROR):
        await taught(catalog).refresh()
    assert await title(catalog) == "first"
    assert "version 2 is not served" in caplog.text
    add("third")
    await taught(catalog).refresh()
    assert await title(catalog) == "third"


async def test_first_version_that_cannot_be_loaded_is_listed_with_its_reason(
    catalog: Catalog, add: Callable[..., int]
) -> None:
    add("broken")
    await taught(catalog).refresh()
    model = catalog.get("bugs")
    assert model.state == "failed"
    assert model.error is not None
    assert model.error.endswith("the head is damaged")
    assert "/" not in model.error


async def test_failed_version_is_tried_again(
    catalog: Catalog,
    add: Callable[..., int],
    builder: Builder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(taught(catalog), "_retry_seconds", 0)

    def fail(*_: object) -> Classifier:
        raise ArtifactError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Builder, "__call__", fail)
        add("first")
        await taught(catalog).refresh()
        assert catalog.get("bugs").state == "failed"
    await taught(catalog).refresh()
    assert await title(catalog) == "first"


async def test_requests_in_flight_keep_the_replaced_version(
    catalog: Catalog,
    add: Callable[..., int],
    builder: Builder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backend.taught_models._CLOSE_SECONDS", 0.01)
    add("first")
    await taught(catalog).refresh()
    held = catalog.get("bugs")
    add("second")
    await taught(catalog).refresh()
    await asyncio.sleep(0.1)
    assert held.classifier is not None
    await held.classifier.classify(SEVEN)
    is_closed = asyncio.Event()
    close = partial(asyncio.get_running_loop().call_soon_threadsafe, is_closed.set)
    monkeypatch.setattr(held.classifier, "close", close)
    del held
    await asyncio.wait_for(is_closed.wait(), 20)


async def test_deleted_model_is_no_longer_served(
    catalog: Catalog, add: Callable[..., int], registry: Registry
) -> None:
    add("first")
    await taught(catalog).refresh()
    registry.delete_model("bugs")
    await taught(catalog).refresh()
    with pytest.raises(UnknownModelError):
        catalog.get("bugs")


async def test_models_stay_if_the_store_is_emptied(
    catalog: Catalog, add: Callable[..., int], tmp_path: Path
) -> None:
    add("first")
    await taught(catalog).refresh()
    shutil.rmtree(tmp_path / "registry")
    with pytest.raises(StoreUnavailableError, match="missing"):
        await taught(catalog).refresh()
    assert await title(catalog) == "first"
    assert add("second") == 1
    await taught(catalog).refresh()
    assert await title(catalog) == "second"


async def test_every_version_can_be_named(catalog: Catalog, add: Callable[..., int]) -> None:
    for number in ("first", "second"):
        add(number)
    add("third", activate=False)
    await taught(catalog).refresh()
    names = ("bugs", "bugs@1", "bugs@2", "bugs@3", "bugs@latest")
    assert [await title(catalog, name) for name in names] == [
        *("second", "first", "second", "third", "third")
    ]
    assert catalog.get("bugs@1").manifest.version == "1"  # type: ignore[union-attr]
    assert catalog.get("bugs@1") is catalog.get("bugs@1")
    assert catalog.get("digits@7") is catalog.get("digits@latest") is catalog.get("digits")


@pytest.mark.parametrize(
    "name", ["bugs@4", "bugs@", "bugs@1.0", "bugs@٣", "@1", "bugs@1@1", "digits@8", "auto@1", "x@1"]
)
async def test_unknown_version_raises(name: str, catalog: Catalog, add: Callable[..., int]) -> None:
    add("first")
    await taught(catalog).refresh()
    with pytest.raises(UnknownModelError):
        catalog.get(name)


async def test_error_of_a_model_without_an_active_version_names_its_versions(
    catalog: Catalog, add: Callable[..., int]
) -> None:
    add("first", activate=False)
    await taught(catalog).refresh()
    with pytest.raises(UnknownModelError, match="Its versions are bugs@1"):
        catalog.get("bugs")


async def test_loaded_versions_that_are_not_active_are_bounded(
    tmp_path: Path, catalog: Catalog, add: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taught(catalog).registry, "max_active_bytes", 8000)
    for number in range(4):
        add(str(number))
    await taught(catalog).refresh()
    first = catalog.get("bugs@1")
    for name in ("bugs@2", "bugs@3"):
        await catalog.get(name).load()
    assert catalog.get("bugs@1") is not first


async def test_model_of_the_operator_hides_a_taught_model_of_its_name(
    catalog: Catalog, add: Callable[..., int]
) -> None:
    add("first", "digits")
    await taught(catalog).refresh()
    assert await title(catalog, "digits") == ""
    assert len(catalog.models()) == 1


async def test_requests_wait_for_a_model_that_is_not_verified_yet(
    catalog: Catalog, add: Callable[..., int]
) -> None:
    with pytest.raises(ModelNotReadyError):
        catalog.get("bugs")
    add("first")
    await taught(catalog).read()
    loading = asyncio.create_task(title(catalog))
    with pytest.raises(UnknownModelError):
        catalog.get("birds")
    await taught(catalog).refresh(load=False)
    assert await loading == "first"


async def test_check_refuses_a_model_that_cannot_be_loaded(
    tmp_path: Path, catalog: Catalog
) -> None:
    await taught(catalog).check("bugs", write_model(tmp_path / "good", "bugs"))
    with pytest.raises(InvalidModelError, match="the head is damaged") as caught:
        await taught(catalog).check("bugs", write_model(tmp_path / "bad", "bugs", title="broken"))
    assert str(tmp_path) not in str(caught.value)


async def test_swaps_leave_no_classifier_and_no_thread_behind(
    catalog: Catalog,
    add: Callable[..., int],
    builder: Builder,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backend.taught_models._CLOSE_SECONDS", 0.01)
    closed: list[Classifier] = []
    close = Classifier.close

    def record(self: Classifier) -> None:
        closed.append(self)
        close(self)

    monkeypatch.setattr(Classifier, "close", record)
    add("first")
    add("second")
    for number in range(20):
        registry.activate("bugs", 1 + number % 2)
        await taught(catalog).refresh()
    await until(lambda: len(closed) == len(builder.built) - 2)  # but those of two active models


@pytest.mark.anyio
async def test_versions_for_monitoring_are_known(
    catalog: Catalog, add: Callable[..., int], registry: Registry
) -> None:
    add("first")
    add("second", activate=False)
    await taught(catalog).refresh()
    assert (catalog.active_version("bugs"), catalog.latest_version("bugs")) == ("1", "2")
    assert (catalog.active_version("digits"), catalog.latest_version("digits")) == ("7", "7")
    created = registry.read().models["bugs"].versions[0].created
    assert catalog.created("bugs", "1") == created
    assert catalog.created("bugs", "3") is None
    assert catalog.created("digits", "7") is None
