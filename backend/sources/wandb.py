"""Models from the artifacts of Weights & Biases, through its GraphQL API.

The package wandb is not needed. `WANDB_API_KEY` is the key of the account; `WANDB_BASE_URL` is the
URL of an own server. The queries are those of wandb's client. The URLs of the files are signed, and
are requested without the key.
"""

import os
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError
from urllib3.util import make_headers

from backend.inference.errors import SourceError
from backend.sources.http_client import HttpClient, is_http_url
from backend.sources.registered import RegisteredModel
from backend.sources.remote import DownloadFile, find_model_folder, retry_unreachable

_DEFAULT_URL: Final = "https://api.wandb.ai"
_MAX_FILES: Final = 1000  # of an artifact
_DENIED: Final = frozenset({401, 403})

_VERSION_QUERY: Final = """
query ArtifactMembershipByName($entity: String!, $project: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    artifactCollectionMembership(name: $name) {
      versionIndex
      artifact {
        state
      }
    }
  }
}
"""
_FILES_QUERY: Final = """
query GetArtifactMembershipFileUrls($entity: String!, $project: String!, $collection: String!,
  $alias: String!, $perPage: Int) {
  project(name: $project, entityName: $entity) {
    artifactCollection(name: $collection) {
      artifactMembership(aliasName: $alias) {
        files(first: $perPage) {
          pageInfo {
            hasNextPage
          }
          edges {
            node {
              name
              directUrl
            }
          }
        }
      }
    }
  }
}
"""


class _Artifact(BaseModel):
    state: str


class _Membership(BaseModel):
    index: int = Field(alias="versionIndex")
    artifact: _Artifact


class _File(BaseModel):
    name: str
    url: str | None = Field(alias="directUrl")


class _Edge(BaseModel):
    node: _File


class _Page(BaseModel):
    has_next: bool = Field(alias="hasNextPage")


class _Files(BaseModel):
    page: _Page = Field(alias="pageInfo")
    edges: list[_Edge]


class WandbRemote:
    """The files of one version of an artifact."""

    def __init__(self, model: RegisteredModel, *, allow_private: bool) -> None:
        """Find the version; raise SourceError if there is none, or no model folder in it."""
        api = WandbApi(allow_private=allow_private)
        self._version: Final = retry_unreachable(lambda: api.find_version(model))
        self._urls: Final = retry_unreachable(lambda: api.list_files(model, self._version))
        folder = find_model_folder(self._urls)
        self._prefix: Final = f"{folder}/" if folder else ""
        self._storage: Final = HttpClient(_DEFAULT_URL, allow_private=allow_private)

    def download(self, name: str, file: DownloadFile, unless_version: str = "") -> str | None:
        """See `Remote.download`; the version is that of the artifact, such as `v3`."""
        if self._version == unless_version:
            return None
        url = self._urls.get(f"{self._prefix}{name}")
        if not url:
            raise SourceError(f"{name} is not a file of the artifact")
        retry_unreachable(lambda: self._storage.download(url, file), file)
        return self._version


class WandbApi:
    """The GraphQL API of the server. Methods raise UnreachableError if it does not respond."""

    def __init__(self, *, allow_private: bool) -> None:
        url = os.environ.get("WANDB_BASE_URL") or _DEFAULT_URL
        if not is_http_url(url):
            raise SourceError("WANDB_BASE_URL must be the https:// URL of a W&B server")
        key = os.environ.get("WANDB_API_KEY")
        if not key:
            raise SourceError("set WANDB_API_KEY to the API key of your W&B account")
        self._url: Final = f"{url.rstrip('/')}/graphql"
        self._client: Final = HttpClient(
            url,
            allow_private=allow_private,
            authorization=make_headers(basic_auth=f"api:{key}")["authorization"],
        )

    def find_version(self, model: RegisteredModel) -> str:
        """Return the version, such as `v3`, of the artifact; raise SourceError if there is none."""
        name = f"{model.name}:{model.version or model.alias}"
        project = self._query(_VERSION_QUERY, model, name=name)
        found = project.get("artifactCollectionMembership")
        if found is None:
            raise SourceError("W&B has no artifact of that name and alias")
        try:
            membership = _Membership.model_validate(found)
        except ValidationError:
            raise _unexpected() from None
        if membership.artifact.state != "COMMITTED":
            raise SourceError(f"the artifact is not complete (state {membership.artifact.state})")
        return f"v{membership.index}"

    def list_files(self, model: RegisteredModel, version: str) -> dict[str, str | None]:
        """Return the URL of each file by its name; None if it is stored elsewhere."""
        project = self._query(
            _FILES_QUERY, model, collection=model.name, alias=version, perPage=_MAX_FILES
        )
        try:
            found = project["artifactCollection"]["artifactMembership"]["files"]
            files = _Files.model_validate(found)
        except (KeyError, TypeError, ValidationError):
            raise _unexpected() from None
        if files.page.has_next:
            raise SourceError(f"the artifact has more than {_MAX_FILES} files")
        return {edge.node.name: edge.node.url for edge in files.edges}

    def _query(self, query: str, model: RegisteredModel, **variables: object) -> dict[str, Any]:
        """Return the fields of the project of `model`."""
        variables |= {"entity": model.entity, "project": model.project}
        body = {"query": query, "variables": variables}
        status, document = self._client.request_json(self._url, body)
        if status in _DENIED:
            raise SourceError(f"W&B denies access (status {status}); check WANDB_API_KEY")
        if status == 404:
            raise SourceError("W&B has no such project, or the API key has no access to it")
        if status != 200:
            raise SourceError(f"W&B responded with status {status}")
        try:
            project = document["data"]["project"]
        except (KeyError, TypeError):
            raise _unexpected() from None
        if not isinstance(project, dict):
            raise SourceError("W&B has no such project, or the API key has no access to it")
        return project


def _unexpected() -> SourceError:
    return SourceError("W&B sent an unexpected response")
