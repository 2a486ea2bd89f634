"""Who this page is, for a backend that is private: Google's ID tokens. No Streamlit in here."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from frontend.service.cloud_run import STEP, Trouble, bound_metadata, within

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

log = logging.getLogger("prism.page")

PAUSE = 10.0  # seconds between two attempts to get a token where there is none


def of(url: str, environ: Mapping[str, str]) -> "Identity | None":
    """Return who asks the backend at `url`; None where it is asked without an identity.

    Only what runs on Google Cloud, or names a service account's key, has one, and it is shown to
    https addresses only. BACKEND_AUDIENCE is for backends behind a domain of their own.
    """
    parts = urlsplit(url)
    is_known = environ.get("K_SERVICE") or environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if parts.scheme != "https" or not is_known:
        return None
    return Identity(environ.get("BACKEND_AUDIENCE", "").strip() or f"https://{parts.netloc}")


class Identity(AuthBase):
    """Adds an ID token for `audience` to every request; safe to share between threads.

    The token is kept until shortly before it expires. Where none can be had, requests go without
    one: a backend that is open answers them all the same.
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
        """Get a token, within bounds; one that is about to expire stays where that fails."""
        if self._clock() < self._not_before:
            return
        try:
            self._credentials = within(STEP, self._fetched, "No ID token comes in time.")
        except Trouble as trouble:
            log.warning("%s The backend is asked without one.", trouble)
            self._not_before = self._clock() + PAUSE

    def _fetched(self) -> "Credentials":
        bound_metadata()
        try:
            from google.auth.transport.requests import Request
            from google.oauth2.id_token import fetch_id_token_credentials

            with requests.Session() as session:
                # What signs for a key file is on the internet; no proxy knows the metadata server.
                session.trust_env = bool(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"))
                request = Request(session)
                found: Credentials = fetch_id_token_credentials(  # type: ignore[no-untyped-call]
                    self.audience, request=request
                )
                found.refresh(request)  # type: ignore[no-untyped-call]
        except Exception as exc:  # the library raises more than it documents
            raise Trouble(f"There is no ID token for this page ({type(exc).__name__}).") from exc
        return found
