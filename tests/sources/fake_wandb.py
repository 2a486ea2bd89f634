"""A server with the part of the GraphQL API of Weights & Biases that downloads artifacts.

The schema has the types and fields that the queries of wandb's client use, and graphql-core
validates and executes the queries. The client itself can download from this server
(`tests/e2e/test_model_registries.py`).
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graphql import build_schema, graphql_sync

from tests.sources.file_server import FileServer, Handler, serving

KEY = "a" * 40
ARTIFACT = "team/pets/net"

SCHEMA = build_schema("""
scalar DateTime
scalar JSON
scalar JSONString
scalar Int64
type Query {
  project(name: String, entityName: String): Project
  artifact(id: ID!): Artifact
  viewer: User
}
type User {
  id: ID! entity: String username: String email: String flags: JSONString teams: EntityConnection
}
type EntityConnection { edges: [EntityEdge!]! }
type EntityEdge { node: Entity }
type Entity { id: ID! name: String! }
type Project {
  id: ID! internalId: ID! name: String! entity: Entity!
  artifactCollection(name: String!): ArtifactCollection
  artifactCollectionMembership(name: String!): ArtifactCollectionMembership
}
interface ArtifactCollection {
  id: ID! name: String! project: Project
  artifactMembership(aliasName: String!): ArtifactCollectionMembership
}
type ArtifactSequence implements ArtifactCollection {
  id: ID! name: String! project: Project
  artifactMembership(aliasName: String!): ArtifactCollectionMembership
}
type ArtifactCollectionMembership {
  id: ID! versionIndex: Int createdAt: DateTime
  aliases: [ArtifactAlias!]! artifactCollection: ArtifactCollection artifact: Artifact
  files(names: [String!], after: String, first: Int): FileConnection
}
type Artifact {
  id: ID! artifactSequence: ArtifactSequence! versionIndex: Int artifactType: ArtifactType!
  description: String metadata: JSONString ttlDurationSeconds: Int64 ttlIsInherited: Boolean!
  tags: [Tag!]! historyStep: Int64 state: ArtifactState! size: Int64! digest: String!
  digestAlgorithm: String commitHash: String fileCount: Int64! createdAt: DateTime!
  updatedAt: DateTime aliases: [ArtifactAlias!]! currentManifest: ArtifactManifest
}
type ArtifactManifest { file: File! }
enum ArtifactState { PENDING COMMITTED DELETED }
type ArtifactType { id: ID! name: String! }
type ArtifactAlias { id: ID! alias: String! artifactCollection: ArtifactCollection }
type Tag { id: ID! name: String! }
type PageInfo { endCursor: String hasNextPage: Boolean! }
type FileConnection { pageInfo: PageInfo! edges: [FileEdge!]! totalCount: Int }
type FileEdge { node: File }
type File { id: ID! name: String! displayName: String directUrl: String url: String }
""")
SEQUENCE = SCHEMA.type_map["ArtifactSequence"]


class FakeWandb:
    """One artifact collection: `versions` maps file names to content, `aliases` names versions."""

    def __init__(self, server: FileServer) -> None:
        self.server = server
        self.url = server.url
        self.versions: list[dict[str, bytes]] = []
        self.aliases: dict[str, int] = {}
        self.state = "COMMITTED"
        self.has_more_files = False
        server.responders["graphql"] = self._respond

    def log_artifact(self, folder: Path, *aliases: str, prefix: str = "") -> None:
        """Add the files of `folder` as a new version, with `aliases` and `latest`."""
        files = {f"{prefix}{path.name}": path.read_bytes() for path in folder.iterdir()}
        index = len(self.versions)
        self.versions.append(files)
        self.server.files |= {f"signed/{index}/{name}": data for name, data in files.items()}
        self.server.files[f"manifests/{index}"] = json.dumps(_describe(files)).encode()
        self.aliases |= dict.fromkeys((f"v{index}", "latest", *aliases), index)

    def _respond(self, handler: Handler) -> None:
        expected = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        if handler.headers["Authorization"] != expected:
            handler.respond(401, b"user is not logged in")
            return
        handler.respond(200, json.dumps(self.execute(**json.loads(body))).encode())

    def execute(
        self, query: str, variables: dict[str, Any] | None = None, **_: object
    ) -> dict[str, Any]:
        """Return the response to a query."""
        root = {
            "project": self._project,
            "artifact": lambda _, id: self._artifact(int(id), {}),  # noqa: A006
            "viewer": {"id": "0", "entity": "team", "username": "me", "flags": "{}"},
        }
        return graphql_sync(SCHEMA, query, root, variable_values=variables).formatted  # type: ignore[return-value]

    def _project(self, _: object, name: str, entityName: str) -> dict[str, Any] | None:  # noqa: N803
        entity, project, collection = ARTIFACT.split("/")
        if (entityName, name) != (entity, project):
            return None
        parts = {"id": "1", "internalId": "2", "name": name, "entity": {"id": "3", "name": entity}}
        sequence: dict[str, Any] = {
            "__typename": "ArtifactSequence", "id": "4", "name": collection, "project": parts,
        }  # fmt: skip

        def find(text: str) -> dict[str, Any] | None:
            base, _, alias = text.partition(":")
            if base != collection or alias not in self.aliases:
                return None
            return self._membership(self.aliases[alias], sequence)

        sequence["artifactMembership"] = lambda _, aliasName: find(f"{collection}:{aliasName}")  # noqa: N803
        return parts | {
            "artifactCollectionMembership": lambda _, name: find(name),
            "artifactCollection": lambda _, name: sequence if name == collection else None,
        }

    def _artifact(self, index: int, sequence: dict[str, Any]) -> dict[str, Any]:
        url = f"{self.url}/manifests/{index}"
        return {
            "id": str(index), "artifactSequence": sequence, "versionIndex": index,
            "artifactType": {"id": "5", "name": "model"}, "ttlIsInherited": True,
            "ttlDurationSeconds": -2, "tags": [],
            "state": self.state, "size": 1, "digest": f"digest {index}", "fileCount": 3,
            "createdAt": "2026-01-01T00:00:00", "aliases": [],
            "currentManifest": {"file": {"id": "6", "name": "manifest", "directUrl": url}},
        }  # fmt: skip

    def _membership(self, index: int, sequence: dict[str, Any]) -> dict[str, Any]:
        nodes = [
            {"id": name, "name": name, "displayName": name,
             "directUrl": f"{self.url}/signed/{index}/{name}?signature=secret"}
            for name in self.versions[index]
        ]  # fmt: skip
        files = {
            "pageInfo": {"hasNextPage": self.has_more_files},
            "edges": [{"node": node} for node in nodes],
            "totalCount": len(nodes),
        }
        return {
            "id": f"membership {index}", "versionIndex": index, "aliases": [],
            "createdAt": "2026-01-01T00:00:00", "artifact": self._artifact(index, sequence),
            "artifactCollection": sequence, "files": files,
        }  # fmt: skip


def _describe(files: dict[str, bytes]) -> dict[str, Any]:
    """Return the manifest of an artifact, which only wandb's client reads."""
    contents = {
        name: {
            "digest": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
            "size": len(data),
        }
        for name, data in files.items()
    }
    policy = {"storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {}}
    return {"version": 1, "contents": contents} | policy


@contextmanager
def serving_wandb() -> Iterator[FakeWandb]:
    """Run a server without an artifact."""
    with serving() as server:
        yield FakeWandb(server)
