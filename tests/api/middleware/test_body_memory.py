"""What many people send at a time has to fit into the memory."""

from pathlib import Path

import pytest

from backend import app
from tests.api.asgi import GONE, body, running
from tests.fake_models import GREY, GreyRuntime, grey, write_model
from tests.inference.work import until
from tests.pictures import encoded, noise

PICTURE = encoded(noise(140, 100), "BMP") + bytes(5_000)  # 47 kB
HALF = len(PICTURE) // 2
CHUNKED = {"transfer_encoding": "chunked"}


@pytest.fixture
def grey_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models, in a container that has room for 47 kB of files."""
    monkeypatch.setattr(app, "memory_limit", lambda: 380_000)
    write_model(tmp_path / "grey-models", "grey", preprocess=GREY)
    return tmp_path / "grey-models"


@pytest.mark.anyio
@pytest.mark.parametrize("query", ["", "top_k=1"])
@pytest.mark.parametrize("headers", [CHUNKED, {"content_length": str(len(PICTURE))}])
async def test_what_does_not_fit_beside_others_is_told_to_come_again(
    grey_models: Path, query: str, headers: dict[str, str]
) -> None:
    async with running(grey_models, GreyRuntime()) as service:
        first = service.post(body(PICTURE[:HALF], more=True), **headers)
        await until(lambda: first.asked == 2)
        second = service.post(body(PICTURE[:HALF], more=True), query=query, **headers)
        await until(lambda: second.asked == 2)
        second.say(body(PICTURE[HALF:]))
        status, answered, answer = await second.answer()
        assert (status, answer["code"]) == (429, "queue_full")
        assert int(answered["retry-after"]) >= 1
        first.say(body(PICTURE[HALF:]))
        assert (await first.answer())[0] == 200
        assert (await service.post(body(PICTURE), query=query, **headers).answer())[0] == 200


@pytest.mark.anyio
async def test_one_alone_may_be_larger_than_the_room_for_all(grey_models: Path) -> None:
    large = grey(4) + bytes(90_000)
    async with running(grey_models, GreyRuntime()) as service:
        assert (await service.post(body(large), **CHUNKED).answer())[0] == 200


@pytest.mark.anyio
async def test_whoever_leaves_makes_room(grey_models: Path) -> None:
    async with running(grey_models, GreyRuntime()) as service:
        first = service.post(body(PICTURE[:HALF], more=True), **CHUNKED)
        await until(lambda: first.asked == 2)
        first.say(GONE)
        await first.answer()
        for _ in range(3):
            assert (await service.post(body(PICTURE), **CHUNKED).answer())[0] == 200


@pytest.mark.anyio
async def test_small_pictures_are_read_however_full_it_is(grey_models: Path) -> None:
    data = grey(4)
    async with running(grey_models, GreyRuntime()) as service:
        first = service.post(body(PICTURE, more=True), **CHUNKED)
        await until(lambda: first.asked == 2)
        second = service.post(body(data), content_length=str(len(data)))
        assert (await second.answer())[2]["prediction"] == "4"
