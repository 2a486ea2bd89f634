"""Downloads through the page's server."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message

from client import BackendError, BackendUnreachable, ClientError
from frontend.server.downloads import ROUTES
from frontend.state.downloads import Download, Downloads, downloads

CLIENT = TestClient(Starlette(routes=ROUTES))
ERROR = BackendUnreachable("http://backend")


def put(*chunks: bytes | ClientError) -> str:
    """Return the path of a download with these chunks; an error is raised."""

    def generate() -> Iterator[bytes]:
        for chunk in chunks:
            if isinstance(chunk, ClientError):
                raise chunk
            yield chunk

    return downloads.put(Download("a.csv", "text/csv", generate))


def test_file_is_streamed_as_an_attachment() -> None:
    path = put(b"a,b\n", b"1,2\n")
    for _ in range(2):  # also again
        response = CLIENT.get(path)
        assert response.content == b"a,b\n1,2\n"
        assert response.headers["Content-Disposition"] == 'attachment; filename="a.csv"'
        assert response.headers["Content-Type"].startswith("text/csv")
        assert response.headers["Cache-Control"] == "no-store"


def test_empty_file_is_downloaded() -> None:
    assert CLIENT.get(put()).content == b""


def test_backend_error_before_the_first_byte_is_shown() -> None:
    response = CLIENT.get(put(BackendError(status=503, code="history_unavailable")))
    assert response.status_code == 502
    assert response.text.startswith("The backend cannot reach its history database.")


def test_incomplete_download_fails() -> None:
    with pytest.raises(BackendUnreachable):  # so the server ends the connection without an end
        CLIENT.get(put(b"first", ERROR))


def test_chunks_are_read_one_at_a_time() -> None:
    """The page holds no more of a file than the chunk that it sends."""
    unsent: list[bytes] = []
    most = 0

    def generate() -> Iterator[bytes]:
        for number in range(100):
            unsent.append(b"%d" % number)
            yield unsent[-1]

    async def send(message: Message) -> None:
        nonlocal most
        most = max(most, len(unsent))
        if message.get("body"):
            unsent.remove(message["body"])

    async def receive() -> Message:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    path = downloads.put(Download("a.csv", "text/csv", generate))
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    asyncio.run(Starlette(routes=ROUTES)(scope, receive, send))
    assert not unsent
    assert most == 1


def test_unknown_token_is_not_found() -> None:
    response = CLIENT.get("/downloads/unknown")
    assert response.status_code == 404
    assert "Reload the page" in response.text


def test_downloads_expire() -> None:
    now = 0.0
    store = Downloads(lambda: now)
    path = store.put(Download("a.csv", "text/csv", lambda: iter(())))
    token = path.rpartition("/")[2]
    assert len(token) >= 32
    now = 3600.0
    assert store.find(token) is not None
    now = 3601.0
    assert store.find(token) is None


def test_oldest_download_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frontend.state.downloads.MAX_DOWNLOADS", 2)
    store = Downloads()
    paths = [store.put(Download("a.csv", "text/csv", lambda: iter(()))) for _ in range(3)]
    found = [store.find(path.rpartition("/")[2]) is not None for path in paths]
    assert found == [False, True, True]
