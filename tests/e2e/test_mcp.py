"""The MCP endpoint, used by the SDK's own client over HTTP, with two workers and API keys."""

import asyncio
import json
import re
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client, ConnectMode
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from backend.keys import hash_key
from client import Client as PrismClient
from tests.conftest import ROOT
from tests.e2e.backend_process import BackendProcess
from tests.images import encoded, seven

SEVEN = encoded(seven())
KEY = "key-of-an-assistant"
MAX_BYTES = 3_000_000
MODES: tuple[ConnectMode, ...] = ("auto", "legacy")  # 2026-07-28, and the versions before it


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProcess]:
    """Return a backend whose history is open."""
    with BackendProcess(
        PRISM_DATA_DIR=str(tmp_path_factory.mktemp("data")),
        PRISM_PROTOCOLS="mcp",
        PRISM_API_KEYS=f"assistant={hash_key(KEY.encode()).hex()};scopes=classify+history",
        PRISM_MAX_BYTES=str(MAX_BYTES),
        WEB_CONCURRENCY="2",
    ) as backend:
        backend.wait_until_ready()
        yield backend


@asynccontextmanager
async def connect(
    backend: BackendProcess, mode: ConnectMode = "auto", **headers: str
) -> AsyncIterator[Client]:
    sent = {"Authorization": f"Bearer {KEY}"} | headers
    async with httpx2.AsyncClient(headers=sent, timeout=60, trust_env=False) as http:
        transport = streamable_http_client(f"{backend.url}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


def base64(content: bytes) -> str:
    return b64encode(content).decode()


def error_text(backend: BackendProcess, mode: ConnectMode, arguments: dict[str, Any]) -> str:
    """Return the text of the tool error that `classify_image` returns."""

    async def call() -> str:
        async with connect(backend, mode) as client:
            result = await client.call_tool("classify_image", arguments)
            assert result.is_error
            assert result.structured_content is None
            (content,) = result.content
            assert content.type == "text"
            return content.text

    return asyncio.run(call())


def connection_error(backend: BackendProcess, mode: ConnectMode, **headers: str) -> str:
    """Return the message with which the client fails to connect."""

    async def fail() -> None:
        async with connect(backend, mode, **headers) as client:
            await client.list_tools()

    with pytest.raises((MCPError, ExceptionGroup)) as caught:
        asyncio.run(fail())
    error: BaseException = caught.value
    while isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, MCPError)
    return str(error)


@pytest.mark.parametrize("mode", MODES)
def test_assistant_gets_the_same_probabilities_as_other_clients(
    backend: BackendProcess, mode: ConnectMode
) -> None:
    async def call() -> tuple[Any, Any]:
        async with connect(backend, mode) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert names == ["classify_image", "list_models"]
            arguments = {"image": base64(SEVEN), "model": "mnist-mlp", "top_k": 10}
            # The client checks structured content against the output schema of the tool.
            classified, *_ = await asyncio.gather(
                *(client.call_tool("classify_image", arguments) for _ in range(8))
            )
            return classified, await client.call_tool("list_models", {})

    classified, listed = asyncio.run(call())
    assert not classified.is_error
    assert json.loads(classified.content[0].text) == classified.structured_content
    with PrismClient(backend.url, api_key=KEY) as client:
        expected = client.classify(SEVEN, filename="seven.png", model="mnist-mlp", store=False)
        models = client.models()
        assert client.history.page().items == ()  # no image of a tool is stored
    probabilities = {
        score["label"]: score["probability"] for score in classified.structured_content["top"]
    }
    assert expected.probabilities is not None
    assert [probabilities[str(digit)] for digit in range(10)] == pytest.approx(
        expected.probabilities, abs=1e-6
    )
    names = [model["name"] for model in listed.structured_content["models"]]
    assert names == [model.name for model in models.models]
    assert listed.structured_content["default"] == models.default


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": "no base64!"}, "image: must be the content of an image file in base64"),
        ({"image": "https://example.com/seven.png"}, "not a path or a URL"),
        ({"image": "/images/cat.jpg"}, "not a path or a URL"),
        ({"image": base64(b"plain text")}, "not an image"),
        ({"image": base64(b"x" * (MAX_BYTES + 1))}, "larger than 3,000,000 bytes"),
        ({"image": base64(SEVEN), "model": "unknown"}, "Available models: mnist-cnn"),
        ({"image": base64(SEVEN), "url": "https://example.com/"}, "url: "),
        ({}, "image: "),
    ],
)
def test_error_is_a_tool_error_with_the_detail_of_the_problem(
    backend: BackendProcess, mode: ConnectMode, arguments: dict[str, Any], message: str
) -> None:
    assert message in error_text(backend, mode, arguments)


@pytest.mark.parametrize("mode", MODES)
def test_client_sees_why_its_request_is_refused(backend: BackendProcess, mode: ConnectMode) -> None:
    assert "The API key is not valid" in connection_error(backend, mode, Authorization="Bearer no")
    assert "another website" in connection_error(backend, mode, Origin="https://evil.example")
    assert "host name" in connection_error(backend, mode, Host="evil.example")


def test_example_of_the_documentation_prints_a_classification(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    page = (ROOT / "docs" / "protocols.md").read_text()
    section = page.partition("\n## Model Context Protocol\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.S)
    (configuration,) = re.findall(r"```json\n(.*?)```", section, re.S)
    assert json.loads(configuration)["mcpServers"]["prism"]["url"] == "http://localhost:8000/mcp"
    data_dir = str(tmp_path_factory.mktemp("data"))
    with BackendProcess(PRISM_DATA_DIR=data_dir, PRISM_PROTOCOLS="mcp") as backend:
        backend.wait_until_ready()
        code = code.replace("http://localhost:8000", backend.url)
        command = [sys.executable, "-c", code]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    assert "'prediction': 'Egyptian Mau'" in found.stdout


def test_body_of_2_gb_is_refused_from_its_head(backend: BackendProcess) -> None:
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n"
        "Content-Type: application/json\r\nAccept: application/json\r\n"
        f"Content-Length: {2 * 2**30}\r\n\r\n"
    )
    with backend.connect() as connection:
        connection.sendall(head.encode())
        response = read_response(connection)
    assert response.startswith(b"HTTP/1.1 413")
    error = json.loads(response.partition(b"\r\n\r\n")[2])["error"]
    assert error["data"]["code"] == "body_too_large"


def read_response(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"}"):
        chunk = connection.recv(65_536)
        assert chunk, data
        data += chunk
    return data
