"""The backend and the model that this session talks to."""

import os
from dataclasses import dataclass

import streamlit as st

from client import Client, ClientError, ModelInfo, Models
from frontend.service import errors, identity
from frontend.service.discovery import Address, AddressError, Discovery
from frontend.service.errors import Problem
from frontend.service.predictions import Memory, Question
from frontend.state import url_state

CHOICE = "model"
COVERAGE = "coverage"
USUAL_COVERAGE = 0.95
MEMORY = "memory"  # the name of the session's
_SERVED = "served"


@dataclass(frozen=True, slots=True)
class Service:
    """A backend that answers, the model to ask, and the coverage that is wished for, if any."""

    client: Client
    models: Models
    model: ModelInfo
    address: Address
    coverage: float | None

    @property
    def question(self) -> Question:
        """What is asked of every picture."""
        return Question(self.model, self.coverage)


def refresh() -> None:
    """Ask the backend what it serves: once in every run of the page, so that all parts agree."""
    st.session_state[_SERVED] = _look()


def current() -> Service | Problem:
    """Return the service with the chosen model, or why there is none, in words."""
    if _SERVED not in st.session_state:
        refresh()
    served: tuple[Client, Models, Address] | Problem = st.session_state[_SERVED]
    if isinstance(served, Problem):
        return served
    client, models, address = served
    if not models.models:
        return errors.no_models()
    model = models.get(url_state.get(CHOICE)) or models.get(models.default) or models.models[0]
    return Service(client, models, model, address, _coverage(model))


def ready() -> Service | Problem:
    """Return the service where its model can answer now, or why it cannot, in words."""
    service = current()
    if isinstance(service, Service):
        return errors.of_model(service.model) or service
    return service


def memory() -> Memory:
    """Return what this session has been told already."""
    kept: Memory = st.session_state.setdefault(MEMORY, Memory())
    return kept


def _coverage(model: ModelInfo) -> float | None:
    """Return the coverage that is wished for, or the usual one; None where there is none."""
    levels = sorted(model.calibration.mean_set_size) if model.calibration else []
    for wished in (url_state.get(COVERAGE), str(USUAL_COVERAGE)):
        for level in levels:
            if str(level) == wished:
                return level
    return next(iter(levels), None)


@st.cache_resource(show_spinner=False)
def _client(url: str) -> Client:
    return Client(url, api_key=os.environ.get("BACKEND_API_KEY"), auth=identity.of(url, os.environ))


@st.cache_resource(show_spinner=False)
def finder() -> Discovery:
    """Return what looks for the backend, one for all sessions."""
    return Discovery()


def _look() -> tuple[Client, Models, Address] | Problem:
    try:
        address = finder().address(os.environ)
    except AddressError as error:
        return errors.of_address(error)
    try:
        client = _client(address.url)
    except ValueError:  # the address has been looked at already
        return Problem("BACKEND_API_KEY cannot be an API key.", "Set it to the key you were given.")
    try:
        return client, client.models(), address
    except ClientError as error:
        if errors.is_silent(error):
            finder().doubt(address)
        return errors.at(address, error)
