"""A typed HTTP client of the Prism backend; imports nothing else of the project.

from client import Client

answer = Client("http://localhost:8000").classify(photo, filename="seven.jpg")
print(answer.prediction, answer.confidence)
"""

from client.client import Client
from client.errors import BackendError, BackendUnreachable, ClientError, InvalidAnswer
from client.history import Accuracy, Page, Search, StoredAnswer
from client.types import (
    Calibration,
    Classification,
    Guess,
    Info,
    InputSpec,
    ItemError,
    ModelCard,
    ModelInfo,
    ModelRef,
    Models,
    Timings,
)
from client.url import base_url

__all__ = [
    "Accuracy",
    "BackendError",
    "BackendUnreachable",
    "Calibration",
    "Classification",
    "Client",
    "ClientError",
    "Guess",
    "Info",
    "InputSpec",
    "InvalidAnswer",
    "ItemError",
    "ModelCard",
    "ModelInfo",
    "ModelRef",
    "Models",
    "Page",
    "Search",
    "StoredAnswer",
    "Timings",
    "base_url",
]
