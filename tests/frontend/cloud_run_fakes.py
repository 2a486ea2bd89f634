"""Fakes of Cloud Run's Admin API (gRPC) and metadata server."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from threading import Event, Thread
from typing import Any

import grpc
from google.cloud.run_v2 import GetServiceRequest, Service, ServicesClient
from google.cloud.run_v2.services.services.transports import ServicesGrpcTransport

NUMBER = "123456789012"
REGION = "europe-west1"
TOKEN = "a-token-of-the-page"


@dataclass
class AdminApi:
    """Returns `services` (name -> URL) or fails with `error`; never responds if it `is_silent`."""

    target: str
    services: dict[str, str] = field(default_factory=dict)
    error: grpc.StatusCode | None = None
    is_silent: bool = False
    requests: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    stopped: Event = field(default_factory=Event)

    def connect(self) -> ServicesClient:
        """Return the real client, connected to this server."""
        channel = grpc.insecure_channel(self.target)
        return ServicesClient(transport=ServicesGrpcTransport(channel=channel))

    def get_service(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request.name)
        metadata = dict(context.invocation_metadata())
        self.tokens.append(str(metadata.get("authorization", "")))
        if self.is_silent:
            self.stopped.wait(timeout=30)
        if self.error:
            context.abort(self.error, "internal details")
        if request.name not in self.services:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Resource '{request.name}' was not found")
        return Service(name=request.name, uri=self.services[request.name])


@contextmanager
def admin_api(socket_path: str | None = None) -> Iterator[AdminApi]:
    """Run an Admin API; on a Unix socket it accepts credentials too."""
    pool = ThreadPoolExecutor(4)
    server = grpc.server(pool)
    if socket_path:
        target = f"unix:{socket_path}"
        local = grpc.local_server_credentials(grpc.LocalConnectionType.UDS)
        server.add_secure_port(target, local)
    else:
        target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    api = AdminApi(target)
    method = grpc.unary_unary_rpc_method_handler(
        api.get_service,
        request_deserializer=GetServiceRequest.deserialize,
        response_serializer=Service.serialize,
    )
    name = "google.cloud.run.v2.Services"
    handler = grpc.method_handlers_generic_handler(name, {"GetService": method})
    server.add_generic_rpc_handlers((handler,))
    server.start()
    try:
        yield api
    finally:
        api.stopped.set()
        server.stop(grace=None).wait()
        pool.shutdown()


@contextmanager
def metadata_server() -> Iterator[str]:
    """Run a metadata server with a project, region and account; yield its host and port."""
    account = "/computeMetadata/v1/instance/service-accounts/default/"
    token = f'{{"access_token": "{TOKEN}", "expires_in": 3600, "token_type": "Bearer"}}'
    responses: Mapping[str, tuple[str, str]] = {
        "/": ("text/plain", "computeMetadata/"),
        "/computeMetadata/v1/instance/region": (
            "text/plain",
            f"projects/{NUMBER}/regions/{REGION}",
        ),
        "/computeMetadata/v1/project/project-id": ("text/plain", "demo"),
        "/computeMetadata/v1/universe/universe-domain": ("text/plain", "googleapis.com"),
        account: ("application/json", '{"email": "page@demo.example", "scopes": []}'),
        f"{account}token": ("application/json", token),
    }

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Disable logging."""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0] or "/"
            is_known = path in responses and self.headers["Metadata-Flavor"] == "Google"
            kind, text = responses[path] if is_known else ("text/plain", "")
            self.send_response(200 if is_known else 404)
            self.send_header("Metadata-Flavor", "Google")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def unresponsive_server() -> Iterator[str]:
    """Accept connections and never respond; yield the host and port."""
    with socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
