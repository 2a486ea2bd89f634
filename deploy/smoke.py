"""Ask a deployed Prism whether it works: a line for each thing tried, exit status 1 if one fails.

python -m deploy.smoke http://localhost:8000 --frontend http://localhost:8501

BACKEND_API_KEY is sent where a backend asks for a key; BACKEND_ID_TOKEN where it is private, and
FRONTEND_ID_TOKEN where the page is:
BACKEND_ID_TOKEN=$(gcloud auth print-identity-token) python -m deploy.smoke https://...
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep

import requests

from client import BackendError, Client, ClientError
from deploy.credentials import IdToken, id_token

PICTURE = Path(__file__).resolve().parents[1] / "frontend" / "examples" / "seven.png"
PATIENCE = 60.0  # seconds; a service that was scaled to zero starts first
SETTLING = 60.0  # seconds; who has just been allowed to ask the backend is refused for a while
MOST = 400  # characters of what the page shows

REFUSED = (415, "unsupported_image")

Check = tuple[str, Callable[[], str]]


class PromiseError(Exception):
    """It answers, but not what it should."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Try everything, even after a failure."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.smoke",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("backend", help="address of the backend")
    parser.add_argument("--frontend", help="address of the page")
    given = parser.parse_args(arguments)
    try:
        checks = list(_checks(given.backend, given.frontend))
    except ValueError as error:
        parser.error(str(error))
    results = [_passes(name, check) for name, check in checks]
    return 0 if all(results) else 1


def _checks(backend: str, frontend: str | None) -> Iterator[Check]:
    """Yield what to try; ValueError for an address, a key or a token that cannot be used."""
    client = Client(
        backend,
        api_key=os.environ.get("BACKEND_API_KEY"),
        auth=id_token("BACKEND_ID_TOKEN", backend),
        read_timeout=PATIENCE,
    )
    page_token = id_token("FRONTEND_ID_TOKEN", frontend) if frontend else None
    yield "the backend is ready", lambda: _ready(client)
    yield "a picture is classified", lambda: _classifies(client)
    yield "a broken picture is refused", lambda: _refuses(client)
    if frontend:
        yield "the page is served", lambda: _page(frontend.rstrip("/"), page_token)
        yield "the page asks the backend", lambda: _visit(frontend, page_token, client)


def _passes(name: str, check: Callable[[], str]) -> bool:
    try:
        print(f"ok      {name}: {check()}")
    except (PromiseError, ClientError, OSError, RuntimeError) as error:
        print(f"FAILED  {name}: {error}")
        return False
    return True


def _ready(client: Client) -> str:
    if not client.ready():
        raise PromiseError("it says that it is not")
    return f"version {client.info().version}"


def _classifies(client: Client) -> str:
    answer = client.classify(PICTURE.read_bytes(), filename=PICTURE.name)
    return f"{answer.prediction!r}, {answer.confidence:.0%}, by {answer.model.name}"


def _refuses(client: Client) -> str:
    try:
        client.classify(b"not a picture", filename="broken.png")
    except BackendError as error:
        if (error.status, error.code) == REFUSED:
            return f"{error.status} {error.code}"
        raise
    raise PromiseError("it was classified")


def _page(frontend: str, token: IdToken | None) -> str:
    answer = requests.get(f"{frontend}/_stcore/health", auth=token, timeout=PATIENCE)
    answer.raise_for_status()
    return answer.text.strip()


def _visit(frontend: str, token: IdToken | None, client: Client) -> str:
    """Visit the page of the models over its websocket, as a browser does."""
    try:
        from deploy.page_client import Session  # takes a second: Streamlit's messages
    except ImportError as error:
        raise PromiseError(
            f"not tried, as {error.name} is not installed; "
            "the page's image has it, and so has .venv after `make setup`"
        ) from error
    model = client.models().default
    end = monotonic() + SETTLING
    while True:
        with Session(frontend, token, PATIENCE) as visitor:
            visitor.open("models")
            texts, errors = visitor.texts(), visitor.errors()
        if not errors and any(f"`{model}`" in text for text in texts):
            return f"it shows the model {model}"
        if monotonic() > end:
            shown = re.sub(r"\\(.)", r"\1", " ".join(" ".join(errors or texts).split()))
            raise PromiseError(f"it shows: {shown[:MOST]}")
        sleep(2)


if __name__ == "__main__":
    sys.exit(main())
