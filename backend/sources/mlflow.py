"""Models from the registry of an MLflow tracking server, through its REST API.

The package mlflow is not needed. `MLFLOW_TRACKING_URI` is the URL of the server. Like MLflow's own
client, this uses `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, or
`MLFLOW_TRACKING_TOKEN`, or a user name and password in the URL.

https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

import os
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from pydantic import BaseModel, Field, ValidationError
from urllib3.util import make_headers

from backend.inference.errors import SourceError
from backend.inference.models.artifact import MANIFEST
from backend.sources.http_client import HttpClient, is_http_url
from backend.sources.registered import RegisteredModel
from backend.sources.remote import DownloadFile, find_model_folder, retry_unreachable

_API: Final = "/api/2.0/mlflow"
_ARTIFACTS: Final = "/api/2.0/mlflow-artifacts/artifacts"
_MISSING: Final = frozenset({400, 404})  # the server uses both
_DENIED: Final = frozenset({401, 403})
_MAX_FOLDERS: Final = 20  # of an artifact that are searched for the model


class _Version(BaseModel):
    version: str = Field(pattern=r"^[0-9]{1,9}$")
    status: str = "READY"


class _File(BaseModel):
    path: str
    is_dir: bool = False


_Document = TypeVar("_Document", bound=BaseModel)


class MlflowRemote:
    """The files of one registered model version."""

    def __init__(self, model: RegisteredModel, *, allow_private: bool) -> None:
        """Find the version; raise SourceError if there is none, or no model folder in it."""
        self._registry: Final = MlflowRegistry(allow_private=allow_private)
        self._version, self._folder = retry_unreachable(lambda: self._registry.locate(model))

    def download(self, name: str, file: DownloadFile, unless_version: str = "") -> str | None:
        """See `Remote.download`; the version is the number of the registered model version."""
        if self._version == unless_version:
            return None
        path = f"{self._folder}/{name}"
        retry_unreachable(lambda: self._registry.download(path, file), file)
        return self._version


class MlflowRegistry:
    """The REST API of the server. Methods raise UnreachableError if it does not respond."""

    def __init__(self, *, allow_private: bool) -> None:
        url = os.environ.get("MLFLOW_TRACKING_URI", "")
        if not is_http_url(url):
            raise SourceError("set MLFLOW_TRACKING_URI to the https:// URL of an MLflow server")
        parts = urlsplit(url)
        self._url: Final = parts._replace(query="", fragment="", path=parts.path.rstrip("/"))
        self._client: Final = HttpClient(
            url, allow_private=allow_private, authorization=_authorization()
        )

    def locate(self, model: RegisteredModel) -> tuple[str, str]:
        """Return the version, and the path of its model folder in the artifacts of the server."""
        version = model.version or self.find_version(model)
        name = {"name": model.name, "version": version}
        document = self._get(f"{_API}/model-versions/get", name, f"no version {version}")
        if (status := _parse(_Version, document.get("model_version")).status) != "READY":
            raise SourceError(f"version {version} is not ready (status {status})")
        document = self._get(f"{_API}/model-versions/get-download-uri", name, "no files")
        root = self._path_of(str(document.get("artifact_uri", "")))
        return version, "/".join(filter(None, (root, self._find_folder(root))))

    def find_version(self, model: RegisteredModel) -> str:
        """Return the number of the version that the alias refers to now; raise SourceError."""
        query = {"name": model.name, "alias": str(model.alias)}
        missing = f"no model {model.name!r} with the alias {model.alias!r}"
        document = self._get(f"{_API}/registered-models/alias", query, missing)
        return _parse(_Version, document.get("model_version")).version

    def download(self, path: str, file: DownloadFile) -> None:
        """Write the artifact at `path` into `file`; raise SourceError if there is none."""
        self._client.download(self._at(f"{_ARTIFACTS}/{quote(path)}"), file)

    def _find_folder(self, root: str) -> str:
        entries = self._list(root)
        folders = [entry.path for entry in entries if entry.is_dir][:_MAX_FOLDERS]
        names = [entry.path for entry in entries if not entry.is_dir]
        if MANIFEST not in names:
            names += [
                f"{folder}/{entry.path}"
                for folder in folders
                for entry in self._list(f"{root}/{folder}")
            ]
        return find_model_folder(names)

    def _list(self, path: str) -> list[_File]:
        document = self._get(_ARTIFACTS, {"path": path}, "no such artifact")
        files = [_parse(_File, file) for file in document.get("files", [])]
        return [file for file in files if "/" not in file.path and file.path not in {".", ".."}]

    def _path_of(self, uri: str) -> str:
        """Return the path that the server serves as a proxy of the artifact store."""
        parts = urlsplit(uri)
        if parts.scheme != "mlflow-artifacts" or parts.netloc not in {"", self._host}:
            store = parts.scheme or "file"
            raise SourceError(
                f"its files are in a store ({store}:) that the MLflow server does not serve; "
                "start the server with --artifacts-destination and log the model again"
            )
        return parts.path.strip("/")

    @property
    def _host(self) -> str:
        return self._url.netloc.rpartition("@")[2]

    def _get(self, path: str, query: dict[str, str], missing: str) -> dict[str, Any]:
        status, document = self._client.request_json(f"{self._at(path)}?{urlencode(query)}")
        if status in _MISSING:
            raise SourceError(f"the MLflow server has {missing}")
        if status in _DENIED:
            raise SourceError(
                f"the MLflow server denies access (status {status}); check "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        if status != 200 or not isinstance(document, dict):
            raise SourceError(f"the MLflow server responded with status {status}")
        return document

    def _at(self, path: str) -> str:
        return self._url._replace(path=self._url.path + path).geturl()


def _authorization() -> str:
    """Return the header for the credentials in the environment, or ""."""
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        password = os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
        return make_headers(basic_auth=f"{user}:{password}")["authorization"]
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else ""


def _parse(kind: type[_Document], document: object) -> _Document:
    try:
        return kind.model_validate(document)
    except ValidationError:
        raise SourceError("the MLflow server sent an unexpected response") from None
