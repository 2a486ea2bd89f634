"""The page client against a stand-in for Streamlit, over a real websocket."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from threading import Thread

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from deploy.credentials import IdToken
from deploy.page_session import Session


@contextmanager
def private_page(token: str) -> Iterator[str]:
    """Serve a page that requires `token`, answers once and then closes the connection."""

    def guard(connection: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Authorization") != f"Bearer {token}":
            return connection.respond(HTTPStatus.FORBIDDEN, "")
        is_stream = request.path == "/_stcore/stream"
        return None if is_stream else connection.respond(HTTPStatus.OK, "")

    def answer(connection: ServerConnection) -> None:
        connection.recv()
        message = ForwardMsg()
        message.delta.new_element.markdown.body = "welcome"
        connection.send(message.SerializeToString())
        finished = ForwardMsg(script_finished=ForwardMsg.FINISHED_SUCCESSFULLY)
        connection.send(finished.SerializeToString())

    with serve(answer, "127.0.0.1", 0, process_request=guard) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_private_page_is_opened_with_an_id_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "HTTP_PROXY", "http://127.0.0.1:9"
    )  # must not be used for loopback addresses
    with private_page("sesame") as url:
        with Session(url, IdToken("sesame")) as session:
            session.open()
            assert session.texts() == ["welcome"]
        with pytest.raises(OSError, match="403"), Session(url, IdToken("barley")):
            pass


def test_closed_websocket_raises_connection_error() -> None:
    with private_page("sesame") as url, Session(url, IdToken("sesame")) as session:
        session.open()
        with pytest.raises(ConnectionError, match="websocket"):
            session.open()
