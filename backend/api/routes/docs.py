"""GET /docs: Swagger UI, from files of this service instead of a content delivery network."""

from functools import cache
from importlib import resources
from typing import Final

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from backend.api.middleware.security_headers import DOCS_PATH

router = APIRouter(include_in_schema=False)

_JAVASCRIPT: Final = "text/javascript"
_HEADERS: Final = {"Cache-Control": "public, max-age=86400"}

# The addresses are relative, so that they are right under any path prefix of a proxy.
_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Prism API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START: Final = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
"""


@router.head(DOCS_PATH)
@router.get(DOCS_PATH)
async def page() -> Response:
    """Return the page."""
    return HTMLResponse(_PAGE)


@router.head(f"{DOCS_PATH}/start.js")
@router.get(f"{DOCS_PATH}/start.js")
async def start() -> Response:
    """Return the script that starts Swagger UI."""
    return Response(_START, media_type=_JAVASCRIPT, headers=_HEADERS)


@router.head(f"{DOCS_PATH}/swagger-ui-bundle.js")
@router.get(f"{DOCS_PATH}/swagger-ui-bundle.js")
async def script() -> Response:
    """Return the script of Swagger UI."""
    return Response(_read("swagger-ui-bundle.js"), media_type=_JAVASCRIPT, headers=_HEADERS)


@router.head(f"{DOCS_PATH}/swagger-ui.css")
@router.get(f"{DOCS_PATH}/swagger-ui.css")
async def style() -> Response:
    """Return the style sheet of Swagger UI."""
    return Response(_read("swagger-ui.css"), media_type="text/css", headers=_HEADERS)


@cache
def _read(name: str) -> bytes:
    return resources.files("fastapi_swagger.resources").joinpath(name).read_bytes()
