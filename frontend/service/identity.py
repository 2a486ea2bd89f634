"""Authenticate to a private backend with Google ID tokens. Imports no Streamlit."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from frontend.service import cloud_run
from frontend.service.cloud_run import STEP_TIMEOUT, DiscoveryError, run_with_timeout

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

log = logging.getLogger("prism.page")

RETRY_INTERVAL = 10.0  # seconds between two attempts to get a token after a failure


def create_auth(url: str, environ: Mapping[str, str]) -> "IdTokenAuth | None":
    """Return the authentication for the backend at `url`; None where no identity is available.

    An identity is available on Google Cloud and with the key of a service account, and is sent to
    https addresses only. BACKEND_AUDIENCE is for backends with a custom domain.
    """
    parts = urlsplit(url)
    has_identity = environ.get("K_SERVICE") or environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if parts.scheme != "https" or not has_identity:
        return None
    return IdTokenAuth(environ.get("BACKEND_AUDIENCE", "").strip() or f"https://{parts.netloc}")


class IdTokenAuth(AuthBase):
    """Adds an ID token for `audience` to every request. Thread-safe.

    The token is reused until shortly before it expires. Where none is available, requests are sent
    without one, which a public backend accepts.
    """

    def __init__(self, audience: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.audience = audience
        self._clock = clock
        self._lock = Lock()
        self._credentials: Credentials | None = None
        self._not_before = float("-inf")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if token := self._token():
            request.headers["Authorization"] = f"Bearer {token}"
        return request

    def _token(self) -> str | None:
        with self._lock:
            if not (self._credentials and self._credentials.valid):
                self._renew()
            return self._credentials.token if self._credentials else None

    def _renew(self) -> None:
        """Fetch a token within the timeout; keep one that is about to expire if that fails."""
        if self._clock() < self._not_before:
            return
        try:
            message = "The request for an ID token timed out."
            self._credentials = run_with_timeout(STEP_TIMEOUT, self._fetch, message)
        except DiscoveryError as error:
            log.warning("%s Requests to the backend are sent without one.", error)
            self._not_before = self._clock() + RETRY_INTERVAL

    def _fetch(self) -> "Credentials":
        cloud_run.limit_metadata_timeouts()
        try:
            from google.auth.transport.requests import Request
            from google.oauth2.id_token import fetch_id_token_credentials

            with requests.Session() as session:
                # The token endpoint of a key file is on the internet, possibly behind a proxy; the
                # metadata server must be reached directly.
                session.trust_env = bool(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"))
                request = Request(session)
                credentials: Credentials = fetch_id_token_credentials(  # type: ignore[no-untyped-call]
                    self.audience, request=request
                )
                credentials.refresh(request)  # type: ignore[no-untyped-call]
        except Exception as exc:  # the library raises more than it documents
            message = f"There is no ID token for this page ({type(exc).__name__})."
            raise DiscoveryError(message) from exc
        return credentials
