"""Open Inference Protocol v2 over HTTP, as KServe, Triton and MLServer serve it.

https://github.com/kserve/open-inference-protocol. A model has two inputs, of which a request sends
one: `input`, its preprocessed tensor, or `image`, encoded image files as BYTES. The bodies are
parsed whatever their Content-Type says, because clients send none or a wrong one.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from backend import __version__
from backend.api import deadlines, deps, json_body, quotas
from backend.api.body import read_body
from backend.api.clients import client_of
from backend.api.compat import inference_outputs as outputs
from backend.api.compat.inference_outputs import IMAGE, TENSOR, Answer
from backend.api.compat.inference_requests import HEADER_LENGTH, InferRequest, parse_request
from backend.api.compat.inference_tensors import read_images, read_rows, shown
from backend.api.compat.protocol import Protocol
from backend.api.errors import MalformedRequestError
from backend.api.image_batches import slots_of, wait_for_capacity
from backend.api.parameters import check_query
from backend.api.schemas.classify import make_classification
from backend.api.scopes import require_scope
from backend.catalog import AUTO
from backend.history.history import History
from backend.inference import auto
from backend.inference.errors import ImageError, ImageTooLargeError
from backend.inference.models.artifact import Manifest
from backend.inference.preprocessing.photos import PhotoPreprocess
from backend.inference.types import Floats
from backend.served_model import ServedModel
from backend.settings import Settings

PATH: Final = "/v2"
EXTENSIONS: Final = ("binary_tensor_data", "classification")

_PLATFORM: Final = "prism_classifier"
_STATES: Final = {"ready": "READY", "loading": "LOADING", "failed": "UNAVAILABLE"}
_BASE64: Final = 4 / 3  # characters per byte
_JSON_OVERHEAD: Final = 1_048_576  # bytes of a body besides an image in base64
_INLINE_BYTES: Final = 1_048_576  # of a body that the event loop parses, in about 1 ms
_INLINE_DIGITS: Final = 4  # of the length of its JSON
_TOP_K: Final = 5  # labels in a stored classification

probes = APIRouter()
router = APIRouter(dependencies=[require_scope("classify"), Depends(check_query)])


def create(settings: Settings) -> Protocol:
    """Return the routes of the protocol."""
    both = APIRouter()
    both.include_router(probes)
    both.include_router(router)
    return Protocol(both, (PATH,))


@probes.get("/v2/health/live")
async def live(reader: deps.ImageReaderDep) -> dict[str, bool]:
    """Return 200 as long as the process works."""
    reader.require_responsive()
    return {"live": True}


@probes.get("/v2/health/ready")
async def ready(catalog: deps.CatalogDep) -> dict[str, bool]:
    """Return 200 once the default model can classify."""
    catalog.require_ready()
    return {"ready": True}


@router.get("/v2")
@router.get("/v2/")
async def server_metadata() -> dict[str, Any]:
    """Return the name of the server and its extensions of the protocol."""
    return {"name": "prism", "version": __version__, "extensions": list(EXTENSIONS)}


@router.get("/v2/models/{model}")
@router.get("/v2/models/{model}/versions/{version}")
async def model_metadata(
    catalog: deps.CatalogDep, model: str, version: str | None = None
) -> Response:
    """Return the inputs and outputs of a model."""
    name = _versioned(model, version)
    found = [catalog.get(each) for each in catalog.resolve(name)]
    manifests = [await each.get_manifest() for each in found]
    manifest = manifests[0] if len(manifests) == 1 else None
    return _json(
        {
            "name": manifest.name if manifest else AUTO,
            "versions": [manifest.version] if manifest else [],
            "platform": _PLATFORM,
            "inputs": outputs.describe_inputs(manifest),
            "outputs": outputs.describe_outputs(manifest),
        }
    )


@router.get("/v2/models/{model}/ready")
@router.get("/v2/models/{model}/versions/{version}/ready")
async def model_ready(
    catalog: deps.CatalogDep, model: str, version: str | None = None
) -> dict[str, Any]:
    """Return 200 if the model is verified; the first request loads it if necessary."""
    for name in catalog.resolve(_versioned(model, version)):
        if (found := catalog.get(name)).state != "ready":
            raise found.not_ready()
    return {"name": model, "ready": True}


@router.post("/v2/repository/index")
async def repository_index(request: Request, catalog: deps.CatalogDep) -> Response:
    """Return the names and states of the models; of the ready ones with `{"ready": true}`."""
    body = await read_body(request, json_body.MAX_BYTES)
    fields = json_body.parse_json(body) if body.strip() else {}
    only_ready = isinstance(fields, dict) and fields.get("ready") is True
    return _json(
        [
            {
                "name": each.name,
                "version": each.manifest.version if each.manifest else "",
                "state": _STATES[each.state],
                "reason": each.error or "",
            }
            for each in catalog.models()
            if each.state == "ready" or not only_ready
        ]
    )


@router.post("/v2/repository/models/{model}/load")
@router.post("/v2/repository/models/{model}/unload")
async def load_or_unload(model: str) -> None:
    """Refuse: the operator decides which models are served."""
    raise MalformedRequestError(
        "The protocol cannot load or unload models here: the service loads a model when it is "
        "first asked for. The operator adds models to PRISM_MODELS_DIR, and PUT /models/NAME adds "
        "taught ones."
    )


@router.post("/v2/models/{model}/infer")
@router.post("/v2/models/{model}/versions/{version}/infer")
async def infer(
    request: Request,
    catalog: deps.CatalogDep,
    settings: deps.SettingsDep,
    history: deps.HistoryDep,
    model: str,
    version: str | None = None,
) -> Response:
    """Classify the rows of a tensor, or image files."""
    name = _versioned(model, version)
    timeout = deadlines.request_timeout(request, settings.timeout)
    models, timeout = await deps.get_models(request, catalog, name, timeout)
    client = client_of(request.scope, settings.trusted_proxies)
    for each in models:  # before reading the body: rejections must be cheap
        if each.classifier is not None:
            each.classifier.require_capacity(timeout, client)
    quotas.require_pixels(request.scope)
    header_length = _header_length(request)
    limit = round(_BASE64 * settings.max_bytes) + _JSON_OVERHEAD  # an image of the maximum size
    if header_length is not None:
        limit = max(limit, settings.max_batch_bytes)
    body = await read_body(request, limit)
    call = _Call(request, models, client, deadlines.Deadline(timeout), settings)
    answers, parsed = await deadlines.cancel_on_disconnect(
        request, call.run(body, header_length, history)
    )
    if len({each.manifest.name for each in answers}) == 1:
        request.state.model_name = answers[0].manifest.name
    content, json_length = outputs.make_response(
        parsed, AUTO if len(models) > 1 else models[0].name, answers
    )
    if json_length is None:
        return Response(content, media_type="application/json")
    headers = {HEADER_LENGTH: str(json_length)}
    return Response(content, headers=headers, media_type="application/octet-stream")


class _Call:
    """One call of `infer`."""

    def __init__(
        self,
        request: Request,
        models: Sequence[ServedModel],
        client: str,
        deadline: deadlines.Deadline,
        settings: Settings,
    ) -> None:
        self._scope = request.scope
        self._models = models
        self._client = client
        self._deadline = deadline
        self._settings = settings

    async def run(
        self, body: bytes | bytearray, header_length: str | None, history: History | None
    ) -> tuple[list[Answer], InferRequest]:
        """Parse the body and classify what it contains."""
        manifest = None
        if len(self._models) == 1:
            manifest = (await self._models[0].load(self._deadline.remaining())).manifest
        # A length of a few digits: the body is mostly binary, which costs little to parse.
        is_quick = header_length is not None and len(header_length) <= _INLINE_DIGITS
        if is_quick and len(body) <= _INLINE_BYTES:
            parsed, rows, images = self._parse(body, header_length, manifest)
        else:
            parsing = json_body.run_in_parser(self._parse, body, header_length, manifest)
            parsed, rows, images = await self._deadline.limit(parsing)
        if rows is not None:
            return await self._classify_rows(rows), parsed
        return await self._classify_images(images, history if parsed.store else None), parsed

    def _parse(
        self, body: bytes | bytearray, header_length: str | None, manifest: Manifest | None
    ) -> tuple[InferRequest, Floats | None, list[bytes]]:
        """Return the request with its rows or its images; `manifest`: None for `auto`."""
        parsed = parse_request(body, header_length)
        outputs.require_outputs(
            parsed, [each["name"] for each in outputs.describe_outputs(manifest)]
        )
        names = [each["name"] for each in outputs.describe_inputs(manifest)]
        for tensor in parsed.inputs:
            if tensor.name not in names:
                raise MalformedRequestError(
                    f"{shown(tensor.name)}: the model has no such input. Send {' or '.join(names)}."
                )
        if len(parsed.inputs) > 1:
            raise MalformedRequestError(f"Send only one of the inputs {TENSOR} and {IMAGE}.")
        (tensor,) = parsed.inputs
        if tensor.name == IMAGE or manifest is None:
            return parsed, None, read_images(tensor, self._settings.max_bytes)
        shape = manifest.preprocess.input_shape
        pixels = outputs.takes_pixels(manifest)
        return parsed, read_rows(tensor, shape, takes_pixels=pixels), []

    async def _classify_rows(self, rows: Floats) -> list[Answer]:
        classifier = await self._models[0].load(self._deadline.remaining())
        spec = classifier.manifest.preprocess
        channels = spec.channels if isinstance(spec, PhotoPreprocess) else 1
        quotas.take_pixels(self._scope, rows.size // channels)
        results = await classifier.classify_inputs(rows, self._deadline.remaining(), self._client)
        return [Answer(result, classifier.manifest) for result in results]

    async def _classify_images(
        self, images: Sequence[bytes], history: History | None
    ) -> list[Answer]:
        max_bytes, max_pixels = self._settings.max_bytes, self._settings.max_pixels
        for number, content in enumerate(images):
            if len(content) > max_bytes:
                raise _at(
                    number,
                    images,
                    ImageTooLargeError(f"The image is larger than {max_bytes:,} bytes."),
                )
        for content in images:
            quotas.take_image(self._scope, content, max_pixels)
        slots = slots_of(self._client)

        async def classify(number: int) -> Answer:
            content = images[number]
            async with slots:
                try:
                    return await self._classify_image(content, history)
                except ImageError as error:
                    raise _at(number, images, error) from error

        if len(images) == 1:
            return [await classify(0)]
        tasks = [asyncio.create_task(classify(number)) for number in range(len(images))]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _classify_image(self, content: bytes, history: History | None) -> Answer:
        seconds = self._deadline.remaining()
        await wait_for_capacity(self._models, content, seconds, self._client)
        started = time.perf_counter()
        seconds = self._deadline.remaining()
        classifier, result = await auto.classify(self._models, content, seconds, self._client)
        if history is not None:
            fields = make_classification(
                result, classifier.manifest, None, _TOP_K, True, deps.DEFAULT_COVERAGE
            )
            left = seconds - (time.perf_counter() - started)
            await history.add(fields, content, left, brightness=result.brightness)
        return Answer(result, classifier.manifest)


def _at(number: int, images: Sequence[bytes], error: ImageError) -> ImageError:
    """Return the error of an image with its position, if there are several."""
    if len(images) == 1:
        return error
    return type(error)(f"Image {number} of {len(images)}, counted from 0: {error}")


def _header_length(request: Request) -> str | None:
    values = request.headers.getlist(HEADER_LENGTH)
    if len(values) > 1:
        raise MalformedRequestError(f"{HEADER_LENGTH}: Send this header only once.")
    return values[0] if values else None


def _versioned(model: str, version: str | None) -> str:
    return model if version is None else f"{model}@{version}"


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
