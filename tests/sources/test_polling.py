"""Models are replaced when the alias of their address moves."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from backend.inference.errors import ArtifactError
from backend.inference.models import artifact
from backend.sources.address import parse_address
from backend.sources.polling import SourcePoller, Wakeup
from backend.sources.resolver import ModelResolver
from tests.conftest import free_port
from tests.sources.conftest import write_large_model
from tests.sources.fake_mlflow import FakeMlflow
from tests.sources.file_server import serving

Steps = Callable[["Service"], Awaitable[None]]


class Service:
    """What polls: a resolver, a poller, and the models that it loaded last."""

    def __init__(self, folder: Path, addresses: dict[str, str]) -> None:
        parsed = {name: parse_address(text, folder) for name, text in addresses.items()}
        self.addresses = parsed
        self.resolver = ModelResolver(folder, seconds=60, allow_private=True, cache_bytes=0)
        self.poller = SourcePoller(parsed, self.resolver, self.replace, 60)
        self.replaced: list[tuple[str, str]] = []
        self.refused: set[str] = set()

    async def replace(self, name: str, folder: Path) -> None:
        version = artifact.read(folder).manifest.version
        if version in self.refused:
            raise ArtifactError(f"version {version} cannot be loaded")
        self.replaced.append((name, version))


@pytest.fixture
def mlflow(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMlflow]:
    with serving() as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        fake = FakeMlflow(server)
        fake.log_model(published, "champion")
        yield fake


def run(tmp_path: Path, steps: Steps, address: str = "mlflow:models:/pets@champion") -> Service:
    """Start a service with one model, `pets`, and run `steps`."""

    async def start() -> Service:
        service = Service(tmp_path / "cache", {"pets": address})
        for each in service.addresses.values():
            await service.resolver.resolve(each)
        await steps(service)
        return service

    return asyncio.run(start())


def test_moved_alias_replaces_the_model_once(mlflow: FakeMlflow, tmp_path: Path) -> None:
    async def steps(service: Service) -> None:
        await service.poller.poll()
        assert service.replaced == []
        mlflow.log_model(write_large_model(tmp_path / "2", version="2"), "champion")
        await service.poller.poll()
        await service.poller.poll()
        assert service.replaced == [("pets", "2")]
        mlflow.aliases["champion"] = 1
        await service.poller.poll()

    assert run(tmp_path, steps).replaced[1:] == [("pets", "1")]


def test_replaced_copy_is_removed_beyond_the_limit_of_the_cache(
    mlflow: FakeMlflow, tmp_path: Path
) -> None:
    async def steps(service: Service) -> None:
        mlflow.log_model(write_large_model(tmp_path / "2", version="2"), "champion")
        await service.poller.poll()

    run(tmp_path, steps)
    (copy,) = (tmp_path / "cache").rglob(artifact.ONNX)
    assert artifact.read(copy.parent).manifest.version == "2"


def test_version_with_the_same_content_replaces_nothing(
    mlflow: FakeMlflow, tmp_path: Path, published: Path
) -> None:
    async def steps(service: Service) -> None:
        mlflow.log_model(published, "champion")
        await service.poller.poll()
        await service.poller.poll()

    assert run(tmp_path, steps).replaced == []


@pytest.mark.parametrize("fault", ["damaged", "refused"])
def test_version_that_fails_replaces_nothing_and_is_tried_again_later(
    fault: str,
    mlflow: FakeMlflow,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr("backend.sources.polling.time", clock)

    async def steps(service: Service) -> None:
        nonlocal now
        mlflow.log_model(write_large_model(tmp_path / "2", version="2"), "champion")
        path = "api/2.0/mlflow-artifacts/artifacts/1/2/model.onnx"
        content = mlflow.server.files[path]
        if fault == "damaged":
            mlflow.server.files[path] = b"damaged"
        else:
            service.refused.add("2")
        for now in (0, 1, 61, 62):  # noqa: B007 (the time of each poll)
            await service.poller.poll()
        assert service.replaced == []
        mlflow.server.files[path] = content
        service.refused.clear()
        now = 180  # the delay is doubled
        await service.poller.poll()
        assert service.replaced == []
        now = 182
        await service.poller.poll()

    with caplog.at_level(logging.ERROR, logger="prism.sources"):
        assert run(tmp_path, steps).replaced == [("pets", "2")]
    (message,) = caplog.messages
    assert message.startswith("pets: version 2 does not replace the model: ")


def test_failed_version_does_not_block_the_next_one(mlflow: FakeMlflow, tmp_path: Path) -> None:
    async def steps(service: Service) -> None:
        service.refused.add("2")
        mlflow.log_model(write_large_model(tmp_path / "2", version="2"), "champion")
        await service.poller.poll()
        mlflow.log_model(write_large_model(tmp_path / "3", version="3"), "champion")
        await service.poller.poll()

    assert run(tmp_path, steps).replaced == [("pets", "3")]


def test_unreachable_registry_is_reported_once_and_changes_nothing(
    mlflow: FakeMlflow,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def steps(service: Service) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
        await service.poller.poll()
        await service.poller.poll()
        mlflow.log_model(write_large_model(tmp_path / "2", version="2"), "champion")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.server.url)
        await service.poller.poll()

    with caplog.at_level(logging.WARNING, logger="prism.sources"):
        assert run(tmp_path, steps).replaced == [("pets", "2")]
    (message,) = caplog.messages
    assert "cannot check for a new version: mlflow:models:/pets@champion: cannot" in message


def test_model_that_was_missing_at_startup_is_loaded_later(
    mlflow: FakeMlflow, tmp_path: Path
) -> None:
    async def start() -> Service:
        service = Service(tmp_path / "cache", {"pets": "mlflow:models:/pets@new"})
        await service.poller.poll()
        mlflow.aliases["new"] = 1
        await service.poller.poll()
        return service

    assert asyncio.run(start()).replaced == [("pets", "1")]


@pytest.mark.parametrize(
    "address",
    ["mlflow:models:/pets/1", f"mlflow:models:/pets@a@sha256={'0' * 64}", "wandb:a/b/c:v1",
     "https://host/a", "gs://bucket/a"],
)  # fmt: skip
def test_addresses_that_cannot_move_are_not_polled(address: str, tmp_path: Path) -> None:
    assert not Service(tmp_path, {"pets": address}).poller.addresses


def test_wakeup_reads_an_address_again_that_is_not_polled(
    tmp_path: Path, published: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving() as server:
        server.publish(published, "pets")

        async def steps(service: Service) -> None:
            polling = asyncio.create_task(service.poller.run())
            await service.poller.read_others()
            assert not service.replaced
            server.publish(write_large_model(tmp_path / "2", version="2"), "pets")
            server.files["pets/model.onnx"] = b"damaged"
            await service.poller.read_others()
            assert not service.replaced
            assert "pets is not replaced" in caplog.text
            server.publish(tmp_path / "2" / "fake", "pets")
            service.poller.wakeup.set()
            while not service.replaced:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            polling.cancel()

        assert run(tmp_path, steps, f"{server.url}/pets").replaced == [("pets", "2")]


@pytest.mark.parametrize("address", ["/models/pets", f"https://host/a@sha256={'0' * 64}"])
def test_pinned_addresses_and_folders_are_not_read_again(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> Path:
        raise AssertionError

    monkeypatch.setattr(ModelResolver, "resolve", fail)
    (tmp_path / "pets").mkdir()
    service = Service(tmp_path, {"pets": address.replace("/models", str(tmp_path))})
    asyncio.run(service.poller.read_others())


def test_wakeup_ends_the_current_or_the_next_sleep_once() -> None:
    async def sleep() -> list[bool]:
        wakeup = Wakeup()
        wakeup.set()
        results = [await wakeup.sleep(60), await wakeup.sleep(0)]
        asyncio.get_running_loop().call_soon(wakeup.set)
        return [*results, await wakeup.sleep(None)]

    assert asyncio.run(sleep()) == [True, False, True]
