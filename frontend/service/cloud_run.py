"""Asking Cloud Run for the backend's address, within bounds. No Streamlit in here."""

import importlib
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

import requests

from client import base_url

if TYPE_CHECKING:
    from google.cloud.run_v2 import ServicesClient

STEP = 3.0  # seconds that one step may take at most
CALL = 2.5  # seconds for the question itself: it should end before its step is given up
METADATA = 1.0  # seconds for one question to a server that is one hop away

T = TypeVar("T")

_SERVICE = r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?"
_PROJECT = r"[a-z0-9.:-]+"
_REGION = r"[a-z0-9-]+"
_HERE = re.compile(rf"projects/(\d+)/regions/({_REGION})")


class Trouble(Exception):  # noqa: N818 (says what happened)
    """A step that led nowhere; the text is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Target:
    """The backend's service; `number` is its project's number, None where that is not known."""

    service: str
    project: str
    region: str
    number: str | None

    @property
    def name(self) -> str:
        """The service as the Admin API names it."""
        return f"projects/{self.project}/locations/{self.region}/services/{self.service}"


def target(environ: Mapping[str, str]) -> Target:
    """Return the service to look for; what no setting names, the metadata server is asked for.

    Raises Trouble where it does not answer and PRISM_PROJECT and PRISM_REGION do not suffice,
    ValueError with a sentence where a setting is wrong.
    """
    service = _setting(environ, "PRISM_BACKEND_SERVICE", _SERVICE) or "backend"
    project = _setting(environ, "PRISM_PROJECT", _PROJECT)
    region = _setting(environ, "PRISM_REGION", _REGION)
    if project.isdecimal() and region:
        return Target(service, project, region, project)
    try:
        number, here = within(
            STEP, lambda: _here(environ, project), "The metadata server does not answer in time."
        )
    except Trouble:
        if project and region:
            return Target(service, project, region, None)
        raise
    if project.isdecimal():
        number = project
    return Target(service, project or number or "", region or here, number)


def ask(target: Target) -> str:
    """Return the address that the Admin API knows; raises Trouble where it gives none."""
    within(STEP, _load, "Google's library takes too long to load.")
    return within(STEP, lambda: _asked(target), "Cloud Run does not answer in time.")


def connect() -> "ServicesClient":
    """Return a client of the Admin API, with the credentials of the environment."""
    from google.cloud.run_v2 import ServicesClient

    return ServicesClient()


def deterministic_url(target: Target) -> str:
    """Return the address that follows from the names alone: it needs no permission.

    https://cloud.google.com/run/docs/triggering/https-request#deterministic. Raises Trouble where
    the project's number is not known.
    """
    if target.number is None:
        raise Trouble(f"The number of the project {target.project} is not known.")
    return f"https://{target.service}-{target.number}.{target.region}.run.app"


def within(seconds: float, work: Callable[[], T], late: str) -> T:
    """Return what `work` returns or raises; raise Trouble(late) after `seconds` without either.

    Looking up a name and waiting for credentials know no time-outs of their own. Work that is late
    is left alone, in a thread that does not keep the process from ending.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, name="discovery", daemon=True).start()
    try:
        return done.result(seconds)
    except TimeoutError as exc:
        raise Trouble(late) from exc


def _setting(environ: Mapping[str, str], name: str, pattern: str) -> str:
    value = environ.get(name, "").strip()
    if value and not re.fullmatch(pattern, value):
        raise ValueError(f"The setting {name} cannot be used: nothing is called {value!r}.")
    return value


def _here(environ: Mapping[str, str], project: str) -> tuple[str | None, str]:
    """Return this service's project number and region; no number where `project` is another."""
    with requests.Session() as session:
        session.trust_env = False  # no proxy knows of this server
        session.headers["Metadata-Flavor"] = "Google"
        root = f"http://{environ.get('GCE_METADATA_HOST') or 'metadata.google.internal'}"

        def get(path: str) -> str:
            answer = session.get(
                f"{root}/computeMetadata/v1/{path}", timeout=METADATA, allow_redirects=False
            )
            answer.raise_for_status()
            return answer.text.strip()

        try:
            found = _HERE.fullmatch(get("instance/region"))
            if not found:
                raise Trouble("The metadata server does not say which region this is.")
            number, region = found.groups()
            is_ours = not project or project.isdecimal() or get("project/project-id") == project
        except (requests.RequestException, ValueError) as exc:
            raise Trouble("The metadata server does not answer.") from exc
    return (number if is_ours else None), region


def bound_metadata() -> None:
    """Bound the time for a silent metadata server, which costs 12 s otherwise.

    To be called before google-auth is imported, which reads this then.
    """
    os.environ.setdefault("GCE_METADATA_TIMEOUT", "1")
    os.environ.setdefault("GCE_METADATA_DETECT_RETRIES", "1")


def _load() -> None:
    """Import the library: that takes seconds on a small machine, and only Cloud Run needs it."""
    bound_metadata()
    try:
        importlib.import_module("google.cloud.run_v2")
    except Exception as exc:  # not installed, or not of one version with what it stands on
        raise Trouble(f"Google's library cannot be loaded ({type(exc).__name__}).") from exc


def _asked(target: Target) -> str:
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        with connect() as client:
            # With the default retries the time-out would be no bound.
            service = client.get_service(name=target.name, timeout=CALL, retry=None)
    except exceptions.NotFound as exc:
        raise Trouble(
            f"Cloud Run knows no service {target.service} in {target.region} "
            f"of the project {target.project}; PRISM_BACKEND_SERVICE names another."
        ) from exc
    except (exceptions.Forbidden, exceptions.Unauthorized) as exc:
        raise Trouble(
            f"Cloud Run does not let this page look for the service {target.service}: "
            "its service account needs the permission run.services.get."
        ) from exc
    except exceptions.DeadlineExceeded as exc:
        raise Trouble("Cloud Run does not answer in time.") from exc
    except exceptions.ServiceUnavailable as exc:
        raise Trouble("Cloud Run cannot be reached.") from exc
    except GoogleAuthError as exc:
        raise Trouble("There are no credentials to ask Cloud Run with.") from exc
    except Exception as exc:  # the library raises more than it documents
        raise Trouble(f"Cloud Run could not be asked ({type(exc).__name__}).") from exc
    try:
        return base_url(service.uri)
    except ValueError as exc:
        raise Trouble(f"The service {target.service} has no address yet.") from exc
