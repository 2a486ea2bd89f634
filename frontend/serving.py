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
FRESH = 2  # seconds for which the list of models is believed


@dataclass(frozen=True, slots=True)
class Service:
    """A backend that answers, and the model to ask."""

    client: Client
    models: Models
    model: ModelInfo


def current() -> Service | Problem:
    """Return the service with the chosen model, or why there is none, in words."""
    try:
        url = backend_url(os.environ)
        models = _models(url)
    except AddressError as error:
        return Problem(str(error), "Set it to an address such as http://localhost:8000.")
    except ClientError as error:
        return problems.of(error)
    model = models.get(st.session_state.get(CHOICE)) or models.get(models.default)
    if model is None and not models.models:
        return problems.no_models()
    return Service(_client(url), models, model or models.models[0])


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


@st.cache_data(ttl=FRESH, show_spinner=False)
def _models(url: str) -> Models:
    return _client(url).models()
