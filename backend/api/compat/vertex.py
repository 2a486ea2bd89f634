"""Protocol of Vertex AI."""

from fastapi import APIRouter

from backend.api.compat.protocol import Protocol
from backend.settings import Settings


def create(settings: Settings) -> Protocol:
    """Return the routes of the protocol."""
    router = APIRouter()
    return Protocol(router, paths=())
