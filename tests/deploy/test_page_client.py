"""A visitor of a page that only pretends, over a real websocket."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from threading import Thread

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from deploy.credentials import IdToken
from deploy.page_client import Session


@contextmanager
def private_page(token: str) -> Iterator[str]:
    """The address of a page that is open only to who shows `token`, answers once, and goes."""

    def guard(connection: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Authorization") != f"Bearer {token}":
            return connection.respond(HTTPStatus.FORBIDDEN, "")
        is_visit = request.path == "/_stcore/stream"
        return None if is_visit else connection.respond(HTTPStatus.OK, "")

    def answer(connection: ServerConnection) -> None:
        connection.recv()
        said = ForwardMsg()
        said.delta.new_element.markdown.body = "welcome"
        connection.send(said.SerializeToString())
        over = ForwardMsg(script_finished=ForwardMsg.FINISHED_SUCCESSFULLY)
        connection.send(over.SerializeToString())

    with serve(answer, "127.0.0.1", 0, process_request=guard) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_private_page_is_visited_with_an_id_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "HTTP_PROXY", "http://127.0.0.1:9"
    )  # which this machine's page is not behind
    with private_page("sesame") as url:
        with Session(url, IdToken("sesame")) as visitor:
            visitor.open()
            assert visitor.texts() == ["welcome"]
        with pytest.raises(OSError, match="403"), Session(url, IdToken("barley")):
            pass


def test_a_page_that_breaks_off_is_told_as_such() -> None:
    with private_page("sesame") as url, Session(url, IdToken("sesame")) as visitor:
        visitor.open()
        with pytest.raises(ConnectionError, match="websocket"):
            visitor.open()
