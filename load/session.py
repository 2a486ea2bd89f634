"""A visitor of the page without a browser: Streamlit's own websocket, its own messages.

with Session("http://localhost:8501") as visitor:
    visitor.open("draw")
    visitor.set_component("drawing_pad", {"drawing": {...}})
    visitor.texts()
"""

import json
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import requests
import websocket
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

TEXTS = ("heading", "markdown", "alert")


class Session:
    """One visitor of the page at `url`; waits for no answer longer than `timeout` seconds."""

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._http = requests.Session()
        self._socket: websocket.WebSocket | None = None
        self._page = ""
        self._name = ""
        self._shown: dict[tuple[int, ...], Delta] = {}
        self._states: dict[str, WidgetState] = {}

    def __enter__(self) -> "Session":
        for path in ("/", "/_stcore/host-config", "/_stcore/health"):  # as a browser does
            self._http.get(self._url + path, timeout=self._timeout).raise_for_status()
        parts = urlsplit(self._url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        token = self._http.cookies.get("_streamlit_xsrf") or ""
        self._socket = websocket.create_connection(
            f"{scheme}://{parts.netloc}{parts.path}/_stcore/stream",
            timeout=self._timeout,
            origin=self._url,
            cookie="; ".join(f"{c.name}={c.value}" for c in self._http.cookies),
            subprotocols=["streamlit", token] if token else ["streamlit"],
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._socket:
            # Without a farewell, as a closed tab: a wait for the answer to it would hold up whoever
            # ends a visitor in the midst of it, as load tests do.
            self._socket.shutdown()  # type: ignore[no-untyped-call]
        self._http.close()

    def open(self, page: str = "") -> None:
        """Visit a page by its path in the address and wait until all of it is there."""
        self._page, self._name, self._states = "", page, {}
        self._run()

    def set_component(self, name: str, state: dict[str, Any]) -> None:
        """Set the state of the component that was registered under `name`, and wait."""
        for delta in self._shown.values():
            found = delta.new_element.bidi_component
            if found.component_name.endswith(name):
                self._states[found.id] = WidgetState(id=found.id, json_value=json.dumps(state))
                self._run(fragment=delta.fragment_id)
                return
        raise LookupError(f"there is no component {name} on the page")

    def texts(self) -> list[str]:
        """Return what the page says, as Markdown."""
        return [getattr(getattr(one, kind), "body", "") for kind, one in self._elements()]

    def _elements(self) -> Iterator[tuple[str, Element]]:
        for path in sorted(self._shown):
            element = self._shown[path].new_element
            kind = element.WhichOneof("type")
            if kind in TEXTS:
                yield kind, element

    def _run(self, fragment: str = "") -> None:
        message = BackMsg()
        state = message.rerun_script
        state.page_script_hash, state.page_name = self._page, self._name
        state.fragment_id = fragment
        for widget in self._states.values():
            state.widget_states.widgets.add().CopyFrom(widget)
        assert self._socket is not None, "use it in a `with`"  # noqa: S101
        self._socket.send_binary(message.SerializeToString())
        self._wait(fragment)

    def _wait(self, fragment: str) -> None:
        """Take in what the server sends until the script has finished."""
        end = time.monotonic() + self._timeout
        while time.monotonic() < end:
            assert self._socket is not None  # noqa: S101
            message = ForwardMsg()
            message.ParseFromString(self._socket.recv())
            match message.WhichOneof("type"):
                case "new_session" if not fragment:
                    self._shown = {}
                case "navigation":
                    self._page = message.navigation.page_script_hash
                case "delta" if message.delta.WhichOneof("type") == "new_element":
                    path = tuple(message.metadata.delta_path)
                    self._shown[path] = message.delta
                case "script_finished":
                    status = message.script_finished
                    if status == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                        raise RuntimeError("the page cannot be run")
                    if status != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                        return
        raise TimeoutError(f"the page did not finish within {self._timeout:g} s")
