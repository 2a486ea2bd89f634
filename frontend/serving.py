"""The backend and the model that this session talks to."""

import os
from dataclasses import dataclass

import streamlit as st

from client import Client, ClientError, ModelInfo, Models
from frontend import problems
from frontend.asking import Memory
from frontend.discovery import AddressError, backend_url
from frontend.problems import Problem

CHOICE = "model"
_SERVED = "served"


@dataclass(frozen=True, slots=True)
class Service:
    """A backend that answers, and the model to ask."""

    client: Client
    models: Models
    model: ModelInfo


def refresh() -> None:
    """Ask the backend what it serves: once in every run of the page, so that all parts agree."""
    st.session_state[_SERVED] = _look()


def current() -> Service | Problem:
    """Return the service with the chosen model, or why there is none, in words."""
    if _SERVED not in st.session_state:
        refresh()
    served: tuple[Client, Models] | Problem = st.session_state[_SERVED]
    if isinstance(served, Problem):
        return served
    client, models = served
    model = models.get(st.session_state.get(CHOICE)) or models.get(models.default)
    if model is None and not models.models:
        return problems.no_models()
    return Service(client, models, model or models.models[0])


def ready() -> Service | Problem:
    """Return the service where its model can answer now, or why it cannot, in words."""
    service = current()
    if isinstance(service, Service):
        return problems.of_model(service.model) or service
    return service


def memory() -> Memory:
    """Return what this session has been told already."""
    kept: Memory = st.session_state.setdefault("memory", Memory())
    return kept


@st.cache_resource(show_spinner=False)
def _client(url: str) -> Client:
    return Client(url)


def _look() -> tuple[Client, Models] | Problem:
    try:
        client = _client(backend_url(os.environ))
        return client, client.models()
    except AddressError as error:
        return Problem(str(error), "Set it to an address such as http://localhost:8000.")
    except ClientError as error:
        return problems.of(error)
