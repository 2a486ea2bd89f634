"""Test a running deployment: print one line per check, exit with status 1 if one fails.

python -m deploy.smoke http://localhost:8000 --frontend http://localhost:8501

Set BACKEND_API_KEY if the backend requires an API key, BACKEND_ID_TOKEN if it is private, and
FRONTEND_ID_TOKEN if the frontend is private:
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

IMAGE = Path(__file__).resolve().parents[1] / "frontend" / "examples" / "seven.png"
TIMEOUT = 60.0  # seconds; a service that is scaled to zero has to start
SETTLING_SECONDS = 60.0  # new IAM roles take effect after a while
MAX_TEXT = 400  # characters of the page's text in a message

EXPECTED_REFUSAL = (415, "unsupported_image")

Check = tuple[str, Callable[[], str]]


class CheckError(Exception):
    """A service responds, but not as expected."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all checks, also after a failure."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.smoke",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("backend", help="address of the backend")
    parser.add_argument("--frontend", help="address of the frontend")
    options = parser.parse_args(arguments)
    try:
        checks = list(_checks(options.backend, options.frontend))
    except ValueError as error:
        parser.error(str(error))
    results = [_passes(name, check) for name, check in checks]
    return 0 if all(results) else 1


def _checks(backend: str, frontend: str | None) -> Iterator[Check]:
    """Yield the checks; raise ValueError for an invalid address, key or token."""
    client = Client(
        backend,
        api_key=os.environ.get("BACKEND_API_KEY"),
        auth=id_token("BACKEND_ID_TOKEN", backend),
        read_timeout=TIMEOUT,
    )
    page_token = id_token("FRONTEND_ID_TOKEN", frontend) if frontend else None
    yield "the backend is ready", lambda: _check_readiness(client)
    yield "an image is classified", lambda: _check_classification(client)
    yield "a damaged image is refused", lambda: _check_refusal(client)
    if frontend:
        yield "the frontend is served", lambda: _check_health(frontend.rstrip("/"), page_token)
        yield "the frontend reaches the backend", lambda: _check_page(frontend, page_token, client)


def _passes(name: str, check: Callable[[], str]) -> bool:
    try:
        print(f"ok      {name}: {check()}")
    except (CheckError, ClientError, OSError, RuntimeError) as error:
        print(f"FAILED  {name}: {error}")
        return False
    return True


def _check_readiness(client: Client) -> str:
    if not client.ready():
        raise CheckError("/ready returns 503")
    return f"version {client.info().version}"


def _check_classification(client: Client) -> str:
    result = client.classify(IMAGE.read_bytes(), filename=IMAGE.name)
    return f"{result.prediction!r}, {result.confidence:.0%}, by {result.model.name}"


def _check_refusal(client: Client) -> str:
    try:
        client.classify(b"not an image", filename="broken.png")
    except BackendError as error:
        if (error.status, error.code) == EXPECTED_REFUSAL:
            return f"{error.status} {error.code}"
        raise
    raise CheckError("it was classified")


def _check_health(frontend: str, token: IdToken | None) -> str:
    response = requests.get(f"{frontend}/_stcore/health", auth=token, timeout=TIMEOUT)
    response.raise_for_status()
    return response.text.strip()


def _check_page(frontend: str, token: IdToken | None, client: Client) -> str:
    """Open the Models page over its websocket, as a browser does."""
    try:
        from deploy.page_session import Session  # importing Streamlit takes a second
    except ImportError as error:
        raise CheckError(
            f"not checked because {error.name} is not installed; "
            "the frontend's image and `make setup` install it"
        ) from error
    model = client.models().default
    end = monotonic() + SETTLING_SECONDS
    while True:
        with Session(frontend, token, TIMEOUT) as session:
            session.open("models")
            texts, errors = session.texts(), session.errors()
        if not errors and any(f"`{model}`" in text for text in texts):
            return f"it shows the model {model}"
        if monotonic() > end:
            shown = re.sub(r"\\(.)", r"\1", " ".join(" ".join(errors or texts).split()))
            raise CheckError(f"it shows: {shown[:MAX_TEXT]}")
        sleep(2)


if __name__ == "__main__":
    sys.exit(main())
