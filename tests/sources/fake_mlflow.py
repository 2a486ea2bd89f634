"""The REST API of an MLflow server that has one registered model, with the responses of 3.17.

`tests/e2e/test_model_registries.py` uses a real server.
"""

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.sources.file_server import FileServer, Handler

MODEL = "pets"
API = "api/2.0/mlflow"
ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"


class FakeMlflow:
    """`versions` are the files of the versions from 1 on, `aliases` the version of each alias."""

    def __init__(self, server: FileServer) -> None:
        self.server = server
        self.versions: list[dict[str, bytes]] = []
        self.aliases: dict[str, int] = {}
        self.status = "READY"
        self.store = "mlflow-artifacts:"
        self.authorization: str | None = None
        server.responders |= {
            f"{API}/registered-models/alias": self._find_alias,
            f"{API}/model-versions/get": self._get_version,
            f"{API}/model-versions/get-download-uri": self._get_uri,
            ARTIFACTS: self._list,
        }

    def log_model(self, folder: Path, *aliases: str, prefix: str = "") -> None:
        """Register the files of `folder` as a new version with `aliases`."""
        files = {f"{prefix}{path.name}": path.read_bytes() for path in folder.iterdir()}
        self.versions.append(files)
        number = len(self.versions)
        self.aliases |= dict.fromkeys(aliases, number)
        self.server.files |= {f"{ARTIFACTS}/1/{number}/{name}": files[name] for name in files}

    def _find_alias(self, handler: Handler) -> None:
        query = self._query(handler)
        self._send_version(handler, query["name"], self.aliases.get(query["alias"]))

    def _get_version(self, handler: Handler) -> None:
        query = self._query(handler)
        self._send_version(handler, query["name"], int(query["version"]))

    def _send_version(self, handler: Handler, name: str, number: int | None) -> None:
        if name != MODEL or number is None or number > len(self.versions):
            handler.respond(404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}')
            return
        version = {"name": name, "version": str(number), "status": self.status}
        self._send(handler, {"model_version": version})

    def _get_uri(self, handler: Handler) -> None:
        number = self._query(handler)["version"]
        self._send(handler, {"artifact_uri": f"{self.store}/1/{number}"})

    def _list(self, handler: Handler) -> None:
        path = self._query(handler)["path"] + "/"
        files = [name for name in self.server.files if name.startswith(f"{ARTIFACTS}/{path}")]
        parts = {name.removeprefix(f"{ARTIFACTS}/{path}").partition("/") for name in files}
        entries = {name: bool(slash) for name, slash, _ in parts}
        infos = [{"path": name, "is_dir": is_dir} for name, is_dir in entries.items()]
        self._send(handler, {"files": infos} if infos else {})

    def _query(self, handler: Handler) -> dict[str, str]:
        return {key: value[0] for key, value in parse_qs(urlsplit(handler.path).query).items()}

    def _send(self, handler: Handler, document: object) -> None:
        if self.authorization not in {None, handler.headers["Authorization"]}:
            handler.respond(401, b"You are not authenticated.")
        else:
            handler.respond(200, json.dumps(document).encode())
