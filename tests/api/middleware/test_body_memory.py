"""What many people send at a time has to fit into the memory."""

from pathlib import Path

import pytest

from backend import app
from tests.api.asgi import GONE, body, running
from tests.fake_models import GRAY, GrayRuntime, gray, write_model
from tests.inference.work import until
from tests.images import encoded, noise

PICTURE = encoded(noise(140, 100), "BMP") + bytes(5_000)  # 47 kB
HALF = len(PICTURE) // 2
CHUNKED = {"transfer_encoding": "chunked"}


@pytest.fixture
def gray_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models, in a container that has room for 47 kB of files."""
    monkeypatch.setattr(app, "memory_limit", lambda: 380_000)
    write_model(tmp_path / "gray-models", "gray", preprocess=GRAY)
    return tmp_path / "gray-models"


@pytest.mark.anyio
@pytest.mark.parametrize("query", ["", "top_k=1"])
@pytest.mark.parametrize("headers", [CHUNKED, {"content_length": str(len(PICTURE))}])
async def test_what_does_not_fit_beside_others_is_told_to_come_again(
    gray_models: Path, query: str, headers: dict[str, str]
) -> None:
    async with running(gray_models, GrayRuntime()) as service:
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
async def test_one_alone_may_be_larger_than_the_room_for_all(gray_models: Path) -> None:
    large = gray(4) + bytes(90_000)
    async with running(gray_models, GrayRuntime()) as service:
        assert (await service.post(body(large), **CHUNKED).answer())[0] == 200


@pytest.mark.anyio
async def test_whoever_leaves_makes_room(gray_models: Path) -> None:
    async with running(gray_models, GrayRuntime()) as service:
        first = service.post(body(PICTURE[:HALF], more=True), **CHUNKED)
        await until(lambda: first.asked == 2)
        first.say(GONE)
        await first.answer()
        for _ in range(3):
            assert (await service.post(body(PICTURE), **CHUNKED).answer())[0] == 200


@pytest.mark.anyio
async def test_small_pictures_are_read_however_full_it_is(gray_models: Path) -> None:
    data = gray(4)
    async with running(gray_models, GrayRuntime()) as service:
        first = service.post(body(PICTURE, more=True), **CHUNKED)
        await until(lambda: first.asked == 2)
        second = service.post(body(data), content_length=str(len(data)))
        assert (await second.answer())[2]["prediction"] == "4"
