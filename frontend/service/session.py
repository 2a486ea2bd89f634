"""The backend, model and coverage of a browser session."""

import os
import time
from dataclasses import dataclass

import streamlit as st

from client import Client, ClientError, ModelInfo, Models
from frontend.service import errors, identity
from frontend.service.discovery import Address, AddressError, Discovery
from frontend.service.model_choice import AUTO, ModelScope, automatic_members, choose_model
from frontend.service.predictions import PredictionCache, PredictionRequest
from frontend.state import url_state
from frontend.ui import alerts
from frontend.ui.alerts import Problem

MODEL_PARAM = "model"
COVERAGE_PARAM = "coverage"
STORE_PARAM = "storing"  # "off" or absent
DEFAULT_COVERAGE = 0.95
POLL_INTERVAL = 2.0  # seconds between two checks of an unavailable backend
# Every run of a page starts with this request, so a backend that hangs is reported within 3 s.
MODELS_TIMEOUT = (1.0, 1.5)  # seconds to connect and to receive
_CACHE = "memory"
_SERVED = "served"
_SCOPE = "model scope"
_REFRESHED_AT = "refreshed at"  # of time.monotonic


@dataclass(frozen=True, slots=True)
class Service:
    """A reachable backend, the chosen model, and the chosen coverage, if the model has any.

    `scope` says which models the page offers, and `store` whether classifications of this session
    are stored in the history.
    """

    client: Client
    models: Models
    model: ModelInfo
    address: Address
    coverage: float | None
    scope: ModelScope = ModelScope.NAMED
    store: bool = True

    @property
    def request(self) -> PredictionRequest:
        """The classification parameters that apply to every image."""
        members = automatic_members(self.models) if self.model.name == AUTO else ()
        return PredictionRequest(self.model, self.coverage, store=self.store, members=members)


def refresh() -> None:
    """Fetch the served models, once in each script run so that all parts of the page agree."""
    st.session_state[_SERVED] = _fetch_models()
    st.session_state[_REFRESHED_AT] = time.monotonic()


def offer(scope: ModelScope) -> None:
    """Set which models the page of this script run offers."""
    st.session_state[_SCOPE] = scope


def current() -> Service | Problem:
    """Return the service with the chosen model, or why there is none."""
    if _SERVED not in st.session_state:
        refresh()
    served: tuple[Client, Models, Address] | Problem = st.session_state[_SERVED]
    if isinstance(served, Problem):
        return served
    client, models, address = served
    if not models.models:
        return errors.no_models()
    scope: ModelScope = st.session_state.get(_SCOPE, ModelScope.NAMED)
    model = choose_model(models, scope, url_state.get(MODEL_PARAM))
    coverage = _choose_coverage(model)
    return Service(client, models, model, address, coverage, scope, store=stores_history())


def stores_history() -> bool:
    """Return whether classifications of this session are stored in the history."""
    return url_state.get(STORE_PARAM) is None


def set_store_history(is_stored: bool) -> None:
    """Set whether classifications of this session are stored in the history."""
    url_state.put(STORE_PARAM, None if is_stored else "off")


def ready() -> Service | Problem:
    """Return the service if its model is ready, or why it is not."""
    service = current()
    if isinstance(service, Service):
        return errors.describe_model_state(service.model) or service
    return service


def show_problem(problem: Problem) -> None:
    """Show why the service is unavailable; rerun the page as soon as a temporary problem ends."""
    if problem.retry_after is not None and problem.retry_after > POLL_INTERVAL:
        alerts.show(problem)
        return
    alerts.show_message(problem)
    if problem.is_temporary:
        alerts.show_retry("service")
        _watch(problem)


def cache() -> PredictionCache:
    """Return the cached outcomes of this session."""
    outcomes: PredictionCache = st.session_state.setdefault(_CACHE, PredictionCache())
    return outcomes


@st.cache_resource(show_spinner=False)
def backend_discovery() -> Discovery:
    """Return the backend discovery that all sessions share."""
    return Discovery()


@st.fragment(run_every=POLL_INTERVAL)
def _watch(problem: Problem) -> None:
    """Rerun the page when the problem is gone or has changed."""
    if time.monotonic() - st.session_state.get(_REFRESHED_AT, 0.0) > POLL_INTERVAL / 2:
        refresh()  # not in the run of the page that has just done so
    if ready() != problem:
        st.rerun()


def _choose_coverage(model: ModelInfo) -> float | None:
    """Return the chosen coverage, else the default; None where the model has none."""
    levels = sorted(model.calibration.mean_set_size) if model.calibration else []
    for chosen in (url_state.get(COVERAGE_PARAM), str(DEFAULT_COVERAGE)):
        for level in levels:
            if str(level) == chosen:
                return level
    return next(iter(levels), None)


@st.cache_resource(show_spinner=False)
def _client(url: str) -> Client:
    auth = identity.create_auth(url, os.environ)
    return Client(url, api_key=os.environ.get("BACKEND_API_KEY"), auth=auth)


def _fetch_models() -> tuple[Client, Models, Address] | Problem:
    try:
        address = backend_discovery().address(os.environ)
    except AddressError as error:
        return errors.describe_address_error(error)
    try:
        client = _client(address.url)
    except ValueError:  # the address itself is already validated
        advice = "Set it to the key that you received."
        return Problem("BACKEND_API_KEY is not a valid API key.", advice)
    try:
        return client, client.models(timeout=MODELS_TIMEOUT), address
    except ClientError as error:
        if errors.is_backend_missing(error):
            backend_discovery().mark_unreachable(address)
        return errors.describe_unavailable(address, error)
