"""The methods of the gRPC server, each as a request over HTTP and the message for its response."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from grpc_health.v1 import health_pb2

from backend.api.compat import grpc_messages as messages
from backend.api.compat import grpc_predict_v2_pb2 as pb
from backend.api.compat.grpc_messages import HttpRequest, HttpResponse
from backend.inference.errors import UnknownModelError

SERVICE: Final = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
HEALTH_SERVICE: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

_OK: Final = 200
_LIVE: Final = HttpRequest("GET", "/v2/health/live")
_READY: Final = HttpRequest("GET", "/v2/health/ready")


@dataclass(frozen=True, slots=True)
class Method:
    """A method: `prepare` returns the request for the bytes of a message, `finish` the response.

    Responses with another status than those `accepted` are errors. A probe needs no API key, and
    its message is received only if it `reads` it.
    """

    prepare: Callable[[bytes], HttpRequest]
    finish: Callable[[HttpResponse], Any]
    accepted: tuple[int, ...] = (_OK,)
    is_probe: bool = False
    reads: bool = True


def _prepare_model_ready(message: bytes) -> HttpRequest:
    request = messages.parse(message, pb.ModelReadyRequest)
    return HttpRequest("GET", messages.model_path(request.name, request.version, "/ready"))


def _prepare_model_metadata(message: bytes) -> HttpRequest:
    request = messages.parse(message, pb.ModelMetadataRequest)
    return HttpRequest("GET", messages.model_path(request.name, request.version))


def _prepare_check(message: bytes) -> HttpRequest:
    request = messages.parse(message, health_pb2.HealthCheckRequest)
    if request.service not in ("", SERVICE, HEALTH_SERVICE):
        raise UnknownModelError("The service is unknown.")
    return _READY


def _finish_check(response: HttpResponse) -> Any:
    kind = health_pb2.HealthCheckResponse
    return kind(status=kind.SERVING if response.status == _OK else kind.NOT_SERVING)


METHODS: Final[Mapping[str, Mapping[str, Method]]] = {
    SERVICE: {
        "ServerLive": Method(
            lambda _: _LIVE,
            lambda response: pb.ServerLiveResponse(live=response.status == _OK),
            accepted=(_OK, 503),
            is_probe=True,
            reads=False,
        ),
        "ServerReady": Method(
            lambda _: _READY,
            lambda response: pb.ServerReadyResponse(ready=response.status == _OK),
            accepted=(_OK, 503),
            is_probe=True,
            reads=False,
        ),
        "ModelReady": Method(
            _prepare_model_ready,
            lambda response: pb.ModelReadyResponse(ready=response.status == _OK),
            accepted=(_OK, 404, 503),
        ),
        "ServerMetadata": Method(
            lambda _: HttpRequest("GET", "/v2"),
            lambda response: pb.ServerMetadataResponse(**response.json()),
        ),
        "ModelMetadata": Method(_prepare_model_metadata, messages.metadata_from_http),
        "ModelInfer": Method(messages.to_http, messages.from_http),
    },
    HEALTH_SERVICE: {
        "Check": Method(_prepare_check, _finish_check, accepted=(_OK, 503), is_probe=True),
    },
}
