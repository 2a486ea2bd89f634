"""Ask a deployed Prism whether it works: a line for each thing tried, exit status 1 if one fails.

python -m deploy.smoke http://localhost:8000 --frontend http://localhost:8501
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import requests

from client import BackendError, Client, ClientError

PICTURE = Path(__file__).resolve().parents[1] / "frontend" / "examples" / "seven.png"
PATIENCE = 60.0  # seconds; a service that was scaled to zero starts first

Check = tuple[str, Callable[[], str]]


class PromiseError(Exception):
    """It answers, but not what it should."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Try everything, even after a failure."""
    parser = argparse.ArgumentParser(prog="python -m deploy.smoke", description=__doc__)
    parser.add_argument("backend", help="address of the backend")
    parser.add_argument("--frontend", help="address of the page")
    given = parser.parse_args(arguments)
    results = [_passes(name, check) for name, check in _checks(given.backend, given.frontend)]
    return 0 if all(results) else 1


def _checks(backend: str, frontend: str | None) -> Iterator[Check]:
    client = Client(backend, api_key=os.environ.get("BACKEND_API_KEY"), read_timeout=PATIENCE)
    yield "the backend is ready", lambda: _ready(client)
    yield "a picture is classified", lambda: _classifies(client)
    yield "a broken picture is refused", lambda: _refuses(client)
    if frontend:
        yield "the page is served", lambda: _page(frontend.rstrip("/"))


def _passes(name: str, check: Callable[[], str]) -> bool:
    try:
        print(f"ok      {name}: {check()}")
    except (PromiseError, ClientError, requests.RequestException) as error:
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
        if 400 <= error.status < 500:
            return f"status {error.status}"
        raise
    raise PromiseError("it was classified")


def _page(frontend: str) -> str:
    answer = requests.get(f"{frontend}/_stcore/health", timeout=PATIENCE)
    answer.raise_for_status()
    return answer.text.strip()


if __name__ == "__main__":
    sys.exit(main())
