"""A typed HTTP client of the Prism backend; imports nothing else of the project.

It is installed as the package `prism_client` of the distribution `prism-classify-client`.

from client import Client

classification = Client("http://localhost:8000").classify(content, filename="seven.jpg")
print(classification.prediction, classification.confidence)
"""

from .client import Client
from .drift import Drift, DriftDay, DriftStatistic, LabelChange
from .errors import (
    BackendError,
    BackendUnreachable,
    ClientError,
    InvalidResponse,
    UnreadableFile,
)
from .history_types import (
    Accuracy,
    HistoryFilters,
    HistoryPage,
    HistoryStorage,
    StoredClassification,
)
from .shadow import Shadow, ShadowAgreement, ShadowCorrected, ShadowMedians
from .types import (
    Backbone,
    Calibration,
    Classification,
    ClassScore,
    Embedding,
    Explanation,
    InputSpec,
    ItemError,
    ModelCard,
    ModelInfo,
    ModelRef,
    Models,
    ModelVersion,
    ModelVersions,
    ServiceInfo,
    Timings,
)
from .url import base_url

__version__ = "0.1.0"

# fmt: off
__all__ = [
    "Accuracy", "Backbone", "BackendError", "BackendUnreachable", "Calibration", "ClassScore",
    "Classification", "Client", "ClientError", "Drift", "DriftDay", "DriftStatistic", "Embedding",
    "Explanation", "HistoryFilters", "HistoryPage", "HistoryStorage", "InputSpec",
    "InvalidResponse", "ItemError", "LabelChange", "ModelCard", "ModelInfo", "ModelRef",
    "ModelVersion", "ModelVersions", "Models", "ServiceInfo", "Shadow", "ShadowAgreement",
    "ShadowCorrected", "ShadowMedians", "StoredClassification", "Timings", "UnreadableFile",
    "base_url",
]
# fmt: on
