"""A server that imitates the Google Cloud APIs that gcloud needs for a deployment.

The real gcloud reaches it through an HTTP proxy setting and plain HTTP API endpoints. Its access
token is a file, so no account is needed. Tests read afterwards what was deployed.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import ROOT
from tests.deploy.gcloud_commands import require_gcloud

PROJECT = "demo"
NUMBER = "123456789012"
APIS = ("run", "serviceusage", "cloudbuild", "cloudresourcemanager")

_SERVICE = re.compile(r"/apis/serving\.knative\.dev/v1/namespaces/[^/]+/services(?:/([^/]+))?")
_POLICY = re.compile(r"/v1/projects/[^/]+/locations/([^/]+)/services/([^/]+):([gs])etIamPolicy")
_BUILDS = re.compile(r"/v1/projects/[^/]+(/locations/[^/]+)?/builds")


@dataclass
class Cloud:
    """Deployed services as received, their regions and IAM policies, and submitted builds."""

    folder: Path
    services: dict[str, Any] = field(default_factory=dict)
    regions: dict[str, str] = field(default_factory=dict)
    policies: dict[str, Any] = field(default_factory=dict)
    builds: list[Any] = field(default_factory=list)
    unhandled: list[str] = field(default_factory=list)
    port: int = 0

    def run(self, command: Sequence[str], **environ: str) -> str:
        """Run a command that calls gcloud and return its output; fail on errors."""
        (self.folder / "token").write_text("a token")
        settings = {
            "AUTH_ACCESS_TOKEN_FILE": self.folder / "token",
            "CONFIG": self.folder / "gcloud",
            "COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
            "CORE_DISABLE_PROMPTS": "1",
            "CORE_DISABLE_USAGE_REPORTING": "true",
            "PROXY_ADDRESS": "127.0.0.1",
            "PROXY_PORT": self.port,
            "PROXY_TYPE": "http_no_tunnel",
            **{f"API_ENDPOINT_OVERRIDES_{api.upper()}": f"http://{api}.test/" for api in APIS},
        }
        result = subprocess.run(
            command,
            cwd=ROOT,
            env={
                "HOME": str(self.folder),
                "PATH": os.environ["PATH"],
                **{f"CLOUDSDK_{name}": str(value) for name, value in settings.items()},
                **environ,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0, f"{' '.join(command)}\n{result.stderr}"
        return result.stdout

    def script(self, script: str, project: str = "") -> str:
        """Run a shell script with the real gcloud and stand-ins for docker and git."""
        tools = self.folder / "tools"
        tools.mkdir(exist_ok=True)
        for name, action in {"docker": "true", "git": "echo 0123abc"}.items():
            (tools / name).write_text(f"#!/bin/sh\n{action}\n")
            (tools / name).chmod(0o755)
        path = f"{tools}:{Path(require_gcloud()).parent}:{os.environ['PATH']}"
        bash = shutil.which("bash") or "bash"
        chosen = {"CLOUDSDK_CORE_PROJECT": project} if project else {}
        return self.run([bash, "-euo", "pipefail", "-c", script], PATH=path, **chosen)

    def gcloud(self, *arguments: str) -> str:
        """Run one gcloud command."""
        return self.run([require_gcloud(), *arguments], CLOUDSDK_CORE_PROJECT=PROJECT)

    def respond(self, method: str, host: str, path: str, body: Any) -> Any:
        """Return the response to an API request; None for an unknown path."""
        if found := _SERVICE.fullmatch(path):
            if method in ("POST", "PUT"):
                name = body["metadata"]["name"]
                self.regions[name] = host.removesuffix("-run.test")
                self.services[name] = body
                return _ready(body)
            service = self.services.get(found[1])
            return service and _ready(service)
        if found := _POLICY.fullmatch(path):
            if found[3] == "s":
                self.policies[found[2]] = body["policy"]
            return self.policies.get(found[2], {"etag": "BwX="})
        if _BUILDS.fullmatch(path) and method == "POST":
            self.builds.append(body)
            build = {
                **body,
                "id": "b-1",
                "projectId": PROJECT,
                "status": "QUEUED",
                "logUrl": "https://log.test",
            }
            kind = "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata"
            return {"name": "operations/b-1", "metadata": {"@type": kind, "build": build}}
        if path.endswith("/revisions"):  # gcloud looks up the revision that an update replaces
            return {"kind": "RevisionList", "items": []}
        if host == "serviceusage.test":
            return {"state": "ENABLED", "name": path}
        if re.fullmatch(r"/v\d/projects/[^/:]+", path):
            return {"projectId": PROJECT, "projectNumber": NUMBER, "lifecycleState": "ACTIVE"}
        return None

    def members(self, service: str, role: str = "roles/run.invoker") -> set[str]:
        """Return the members that have `role` on a service."""
        bindings = self.policies.get(service, {}).get("bindings", [])
        return {member for one in bindings if one["role"] == role for member in one["members"]}


@contextmanager
def fake_cloud(folder: Path) -> Iterator[Cloud]:
    """Serve an empty cloud on a free port."""
    folder.mkdir(parents=True, exist_ok=True)
    cloud = Cloud(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Log nothing."""

        def do_GET(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            response = cloud.respond(
                self.command, parts.netloc, parts.path, json.loads(raw) if raw else None
            )
            if response is None and self.command != "GET":
                cloud.unhandled.append(f"{self.command} {self.path}")
            missing = {"error": {"code": 404, "message": self.path, "status": "NOT_FOUND"}}
            data = json.dumps(missing if response is None else response).encode()
            self.send_response(404 if response is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_PUT = do_GET  # noqa: N815 (names required by http.server)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        cloud.port = server.server_port
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield cloud
        finally:
            server.shutdown()
            thread.join()


def _ready(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return a service as Cloud Run describes it once it runs."""
    name = service["metadata"]["name"]
    traffic = [{"revisionName": f"{name}-1", "percent": 100, "latestRevision": True}]
    when = "2026-01-01T00:00:00Z"
    return {
        **service,
        "metadata": {**service["metadata"], "generation": 1, "resourceVersion": "A"},
        "status": {
            "observedGeneration": 1,
            "latestReadyRevisionName": f"{name}-1",
            "latestCreatedRevisionName": f"{name}-1",
            "url": f"https://{name}-{NUMBER}.europe-west1.run.app",
            "traffic": traffic,
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": when}
                for kind in ("Ready", "ConfigurationsReady", "RoutesReady")
            ],
        },
    }
