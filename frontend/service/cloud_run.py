"""Look up the backend's address with the Cloud Run Admin API. Imports no Streamlit."""

import importlib
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

import requests

from client import base_url

if TYPE_CHECKING:
    from google.cloud.run_v2 import ServicesClient

STEP_TIMEOUT = 3.0  # seconds for one step
API_TIMEOUT = 2.5  # seconds for the API call, which should end before its step times out
METADATA_TIMEOUT = 1.0  # seconds for one request to the metadata server, which is one hop away

T = TypeVar("T")

_SERVICE = r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?"
_PROJECT = r"[a-z0-9.:-]+"
_REGION = r"[a-z0-9-]+"
_INSTANCE_REGION = re.compile(rf"projects/(\d+)/regions/({_REGION})")


class DiscoveryError(Exception):
    """A discovery step failed; the text is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Target:
    """The Cloud Run service of the backend; `project_number` is None where it is unknown."""

    service: str
    project: str
    region: str
    project_number: str | None

    @property
    def name(self) -> str:
        """The resource name in the Admin API."""
        return f"projects/{self.project}/locations/{self.region}/services/{self.service}"


def find_target(environ: Mapping[str, str]) -> Target:
    """Return the service to look up, from the settings and else from the metadata server.

    Raise DiscoveryError where the metadata server fails and PRISM_PROJECT and PRISM_REGION are
    not both set, and ValueError with a sentence for an invalid setting.
    """
    service = _read_setting(environ, "PRISM_BACKEND_SERVICE", _SERVICE) or "backend"
    project = _read_setting(environ, "PRISM_PROJECT", _PROJECT)
    region = _read_setting(environ, "PRISM_REGION", _REGION)
    if project.isdecimal() and region:
        return Target(service, project, region, project)
    try:
        message = "The metadata server does not respond in time."
        read = partial(_read_metadata, environ, project)
        number, own_region = run_with_timeout(STEP_TIMEOUT, read, message)
    except DiscoveryError:
        if project and region:
            return Target(service, project, region, None)
        raise
    if project.isdecimal():
        number = project
    return Target(service, project or number or "", region or own_region, number)


def get_service_url(target: Target) -> str:
    """Return the URL that the Admin API reports; raise DiscoveryError where there is none."""
    run_with_timeout(STEP_TIMEOUT, _load_library, "Google's library takes too long to load.")
    message = "Cloud Run does not respond in time."
    return run_with_timeout(STEP_TIMEOUT, lambda: _request_url(target), message)


def connect() -> "ServicesClient":
    """Return an Admin API client with the credentials of the environment."""
    from google.cloud.run_v2 import ServicesClient

    return ServicesClient()


def deterministic_url(target: Target) -> str:
    """Return the URL that follows from the names alone, which needs no permission.

    https://cloud.google.com/run/docs/triggering/https-request#deterministic. Raise DiscoveryError
    where the project number is unknown.
    """
    if target.project_number is None:
        raise DiscoveryError(f"The number of the project {target.project} is unknown.")
    return f"https://{target.service}-{target.project_number}.{target.region}.run.app"


def run_with_timeout(seconds: float, function: Callable[[], T], message: str) -> T:
    """Return or raise what `function` does; raise DiscoveryError(message) after `seconds`.

    Name lookups and credential requests have no timeouts of their own. A late call continues in a
    daemon thread, which does not keep the process alive.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name="discovery", daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError as exc:
        raise DiscoveryError(message) from exc


def limit_metadata_timeouts() -> None:
    """Limit the time that google-auth waits for a metadata server, which is 12 s by default.

    Call this before the first import of google-auth, which reads the variables on import.
    """
    os.environ.setdefault("GCE_METADATA_TIMEOUT", "1")
    os.environ.setdefault("GCE_METADATA_DETECT_RETRIES", "1")


def _read_setting(environ: Mapping[str, str], name: str, pattern: str) -> str:
    value = environ.get(name, "").strip()
    if value and not re.fullmatch(pattern, value):
        raise ValueError(f"The setting {name} is invalid: {value!r} is not a valid name.")
    return value


def _read_metadata(environ: Mapping[str, str], project: str) -> tuple[str | None, str]:
    """Return this service's project number and region; no number where `project` is another."""
    with requests.Session() as session:
        session.trust_env = False  # a proxy cannot reach the metadata server
        session.headers["Metadata-Flavor"] = "Google"
        root = f"http://{environ.get('GCE_METADATA_HOST') or 'metadata.google.internal'}"

        def get(path: str) -> str:
            url = f"{root}/computeMetadata/v1/{path}"
            response = session.get(url, timeout=METADATA_TIMEOUT, allow_redirects=False)
            response.raise_for_status()
            return response.text.strip()

        try:
            match = _INSTANCE_REGION.fullmatch(get("instance/region"))
            if not match:
                raise DiscoveryError("The metadata server does not report a region.")
            number, region = match.groups()
            is_named = project and not project.isdecimal()
            is_own_project = not is_named or get("project/project-id") == project
        except (requests.RequestException, ValueError) as exc:
            raise DiscoveryError("The metadata server does not respond.") from exc
    return (number if is_own_project else None), region


def _load_library() -> None:
    """Import Google's library, which takes seconds on a small machine."""
    limit_metadata_timeouts()
    try:
        importlib.import_module("google.cloud.run_v2")
    except Exception as exc:  # missing, or incompatible with one of its dependencies
        raise DiscoveryError(f"Google's library cannot be loaded ({type(exc).__name__}).") from exc


def _request_url(target: Target) -> str:
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        with connect() as client:
            # The default retries would exceed the timeout.
            service = client.get_service(name=target.name, timeout=API_TIMEOUT, retry=None)
    except exceptions.NotFound as exc:
        raise DiscoveryError(
            f"Cloud Run has no service {target.service} in {target.region} "
            f"of the project {target.project}; set PRISM_BACKEND_SERVICE to another name."
        ) from exc
    except (exceptions.Forbidden, exceptions.Unauthorized) as exc:
        raise DiscoveryError(
            f"Cloud Run does not let this page look up the service {target.service}: "
            "its service account needs the permission run.services.get."
        ) from exc
    except exceptions.DeadlineExceeded as exc:
        raise DiscoveryError("Cloud Run does not respond in time.") from exc
    except exceptions.ServiceUnavailable as exc:
        raise DiscoveryError("Cloud Run is unreachable.") from exc
    except GoogleAuthError as exc:
        raise DiscoveryError("There are no credentials for the Cloud Run API.") from exc
    except Exception as exc:  # the library raises more than it documents
        raise DiscoveryError(f"The Cloud Run API request failed ({type(exc).__name__}).") from exc
    try:
        return base_url(service.uri)
    except ValueError as exc:
        raise DiscoveryError(f"The service {target.service} has no URL yet.") from exc
