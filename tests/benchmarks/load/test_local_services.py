"""The backend is checked for readiness, with credentials and through the proxy."""

import pytest

from benchmarks.load.local_services import ServiceError, require_ready
from tests.benchmarks.serving.conftest import Script, scripted
from tests.client.fake_server import FakeResponse, serving

__all__ = ["scripted"]


def test_host_that_is_not_ready_raises_error(scripted: tuple[int, Script]) -> None:
    port, script = scripted
    script.set_statuses(503)
    with pytest.raises(ServiceError, match="503"):
        require_ready(f"http://127.0.0.1:{port}")


def test_id_token_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BACKEND_ID_TOKEN", " abc\n")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # not used for this machine
    with serving(FakeResponse()) as (url, requests):
        require_ready(url)
    assert requests[0].headers["Authorization"] == "Bearer abc"
    with pytest.raises(ServiceError, match="https addresses only"):
        require_ready("http://prism.example")


def test_proxy_is_used_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(FakeResponse()) as (proxy, requests):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.delenv("no_proxy", raising=False)
        require_ready("http://prism.example")
    assert [request.path for request in requests] == ["http://prism.example/ready"]
