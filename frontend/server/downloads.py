"""GET /downloads/{token}: stream a file from the backend to the browser."""

import itertools
import logging
from collections.abc import Iterator
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from client import ClientError
from frontend.service import errors
from frontend.state.downloads import PATH, downloads

log = logging.getLogger("prism.page")


async def download(request: Request) -> Response:
    """Stream the download of the token.

    Before the first byte, an error of the backend becomes a 502. Later errors end the response
    early and without its last chunk, so that the browser reports a failed download.
    """
    found = downloads.find(request.path_params["token"])
    if found is None:
        text = "This link has expired. Reload the page that had the download button."
        return PlainTextResponse(text, 404)
    chunks = found.chunks()
    try:
        first = await run_in_threadpool(next, chunks, b"")
    except ClientError as error:
        problem = errors.describe_history_error(error)
        return PlainTextResponse(f"{problem.message} {problem.advice}", 502)
    headers = {
        "Content-Disposition": f'attachment; filename="{found.name}"',
        "Cache-Control": "no-store",
        "Content-Encoding": "identity",  # Streamlit would compress it on the event loop
    }
    content = _log_failure(itertools.chain((first,), chunks))
    return StreamingResponse(content, media_type=found.media_type, headers=headers)


def _log_failure(chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except ClientError as error:
        log.warning("a download is incomplete: %s", error)
        raise


ROUTES: Final = [Route(f"{PATH}/{{token}}", download, methods=["GET"])]
