"""A session with the frontend without a browser, over Streamlit's websocket protocol.

with Session("http://localhost:8501") as session:
    session.open("draw")
    session.set_component("drawing_pad", {"drawing": {...}})
    session.texts()
"""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from client.url import is_loopback
from deploy.credentials import IdToken

TEXTS = ("heading", "markdown", "alert")


class Session:
    """A browser session with the frontend at `url`.

    Each response is awaited for at most `timeout` seconds. A private frontend needs `token`. Raise
    OSError if the frontend cannot be reached.
    """

    def __init__(self, url: str, token: IdToken | None = None, timeout: float = 30.0) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._timeout = timeout
        self._exit_stack = ExitStack()
        self._socket: ClientConnection | None = None
        self._page = ""
        self._name = ""
        self._shown: dict[tuple[int, ...], Delta] = {}
        self._states: dict[str, WidgetState] = {}

    def __enter__(self) -> "Session":
        with ExitStack() as stack:
            http = stack.enter_context(requests.Session())
            http.auth = self._token
            http.trust_env = not is_loopback(self._url)
            for path in ("/", "/_stcore/host-config", "/_stcore/health"):  # as a browser does
                http.get(self._url + path, timeout=self._timeout).raise_for_status()
            self._socket = stack.enter_context(self._connect(http))
            self._exit_stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit_stack.close()

    @contextmanager
    def _connect(self, http: requests.Session) -> Iterator[ClientConnection]:
        parts = urlsplit(self._url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        xsrf = http.cookies.get("_streamlit_xsrf") or ""
        headers = dict(self._token.headers) if self._token else {}
        if http.cookies:
            headers["Cookie"] = "; ".join(f"{c.name}={c.value}" for c in http.cookies)
        with (
            _as_os_error(),
            connect(
                f"{scheme}://{parts.netloc}{parts.path}/_stcore/stream",
                origin=Origin(self._url),
                subprotocols=[Subprotocol(one) for one in ("streamlit", xsrf) if one],
                additional_headers=headers,
                compression=None,
                proxy=True if http.trust_env else None,
                open_timeout=self._timeout,
                ping_interval=None,
                # Close like a browser tab: load tests end sessions at any time and must not wait
                # for the closing handshake.
                close_timeout=0,
                max_size=None,
            ) as connection,
        ):
            yield connection

    def open(self, page: str = "") -> None:
        """Open a page by its URL path and wait until it is complete."""
        self._page, self._name, self._states = "", page, {}
        self._run()

    def set_component(self, name: str, state: dict[str, Any]) -> None:
        """Set the state of the component registered as `name`, and wait for the rerun."""
        for delta in self._shown.values():
            component = delta.new_element.bidi_component
            if component.component_name.endswith(name):
                value = json.dumps(state)
                self._states[component.id] = WidgetState(id=component.id, json_value=value)
                self._run(fragment=delta.fragment_id)
                return
        raise LookupError(f"the page has no component {name}")

    def texts(self) -> list[str]:
        """Return the texts of the page, as Markdown."""
        return [getattr(getattr(one, kind), "body", "") for kind, one in self._elements()]

    def errors(self) -> list[str]:
        """Return the error messages of the page."""
        alerts = [one.alert for kind, one in self._elements() if kind == "alert"]
        return [alert.body for alert in alerts if alert.format == Alert.ERROR]

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
        assert self._socket is not None, "use it in a `with` statement"  # noqa: S101
        with _as_os_error():
            self._socket.send(message.SerializeToString())
            self._wait(fragment)

    def _wait(self, fragment: str) -> None:
        """Read messages until the script has finished."""
        end = time.monotonic() + self._timeout
        while (remaining := end - time.monotonic()) > 0:
            assert self._socket is not None  # noqa: S101
            message = ForwardMsg()
            message.ParseFromString(self._socket.recv(timeout=remaining, decode=False))
            match message.WhichOneof("type"):
                case "new_session" if not fragment:
                    self._shown = {}
                case "navigation":
                    self._page = message.navigation.page_script_hash
                case "delta" if message.delta.WhichOneof("type") == "new_element":
                    self._shown[tuple(message.metadata.delta_path)] = message.delta
                case "script_finished":
                    status = message.script_finished
                    if status == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                        raise RuntimeError("the page cannot be run")
                    if status != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                        return
        raise TimeoutError(f"the page did not finish within {self._timeout:g} s")


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except WebSocketException as error:
        raise ConnectionError(f"the page's websocket: {error}") from error
