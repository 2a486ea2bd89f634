"""Enough of Google Cloud for the real gcloud to deploy to, and to be asked afterwards what came.

gcloud is sent here by an HTTP proxy and plain http addresses of its APIs. It has no account: its
token is a file.
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

from tests.deploy.gcloud_commands import ROOT, gcloud

PROJECT = "demo"
NUMBER = "123456789012"
APIS = ("run", "serviceusage", "cloudbuild", "cloudresourcemanager")

_SERVICE = re.compile(r"/apis/serving\.knative\.dev/v1/namespaces/[^/]+/services(?:/([^/]+))?")
_POLICY = re.compile(r"/v1/projects/[^/]+/locations/([^/]+)/services/([^/]+):([gs])etIamPolicy")
_BUILDS = re.compile(r"/v1/projects/[^/]+(/locations/[^/]+)?/builds")


@dataclass
class Cloud:
    """What was deployed: the services as they came, in which region, and who may ask them."""

    folder: Path
    services: dict[str, Any] = field(default_factory=dict)
    regions: dict[str, str] = field(default_factory=dict)
    policies: dict[str, Any] = field(default_factory=dict)
    builds: list[Any] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    port: int = 0

    def run(self, command: Sequence[str], **environ: str) -> str:
        """Run what calls gcloud and return what it prints; AssertionError where it fails."""
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
        """Run a shell script with the real gcloud, and a docker and a git that only nod."""
        tools = self.folder / "tools"
        tools.mkdir(exist_ok=True)
        for name, does in {"docker": "true", "git": "echo 0123abc"}.items():
            (tools / name).write_text(f"#!/bin/sh\n{does}\n")
            (tools / name).chmod(0o755)
        path = f"{tools}:{Path(gcloud()).parent}:{os.environ['PATH']}"
        bash = shutil.which("bash") or "bash"
        chosen = {"CLOUDSDK_CORE_PROJECT": project} if project else {}
        return self.run([bash, "-euo", "pipefail", "-c", script], PATH=path, **chosen)

    def gcloud(self, *arguments: str) -> str:
        """Run one command."""
        return self.run([gcloud(), *arguments], CLOUDSDK_CORE_PROJECT=PROJECT)

    def answer(self, method: str, host: str, path: str, body: Any) -> Any:
        """What the cloud says; None where it knows nothing of it."""
        if found := _SERVICE.fullmatch(path):
            if method in ("POST", "PUT"):
                name = body["metadata"]["name"]
                self.regions[name] = host.removesuffix("-run.test")
                self.services[name] = body
                return _is_ready(body)
            service = self.services.get(found[1])
            return service and _is_ready(service)
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
        if path.endswith("/revisions"):  # asked for the one that an update replaces
            return {"kind": "RevisionList", "items": []}
        if host == "serviceusage.test":
            return {"state": "ENABLED", "name": path}
        if re.fullmatch(r"/v\d/projects/[^/:]+", path):
            return {"projectId": PROJECT, "projectNumber": NUMBER, "lifecycleState": "ACTIVE"}
        return None

    def members(self, service: str, role: str = "roles/run.invoker") -> set[str]:
        """Who has `role` on a service."""
        bindings = self.policies.get(service, {}).get("bindings", [])
        return {who for one in bindings if one["role"] == role for who in one["members"]}


@contextmanager
def cloud(folder: Path) -> Iterator[Cloud]:
    """A cloud that knows nothing yet."""
    folder.mkdir(parents=True, exist_ok=True)
    here = Cloud(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Stay silent."""

        def do_GET(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            said = here.answer(
                self.command, parts.netloc, parts.path, json.loads(raw) if raw else None
            )
            if said is None and self.command != "GET":
                here.strange.append(f"{self.command} {self.path}")
            missing = {"error": {"code": 404, "message": self.path, "status": "NOT_FOUND"}}
            data = json.dumps(missing if said is None else said).encode()
            self.send_response(404 if said is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_PUT = do_GET  # noqa: N815 (the names that http.server looks for)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        here.port = server.server_port
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield here
        finally:
            server.shutdown()
            thread.join()


def _is_ready(service: Mapping[str, Any]) -> dict[str, Any]:
    """A service as Cloud Run tells of it once it runs."""
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
