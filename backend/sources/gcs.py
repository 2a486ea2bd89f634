"""Files in Google Cloud Storage, with the platform's credentials."""

import os
from typing import Final

from backend.inference.errors import SourceError, UnreachableError
from backend.sources.remote import CONNECT_SECONDS, READ_SECONDS, Sink, persist

# Where no metadata server answers, google-auth would look for one for 12 s; it reads these once.
os.environ.setdefault("GCE_METADATA_TIMEOUT", "2")
os.environ.setdefault("GCE_METADATA_DETECT_RETRIES", "1")

try:
    import google.cloud.storage as storage
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
except ModuleNotFoundError as error:
    raise SourceError(
        "gs:// needs google-cloud-storage; run `pip install -r requirements/gcs.txt`"
    ) from error

_TIMEOUT: Final = (CONNECT_SECONDS, READ_SECONDS)


class Bucket:
    """What lies under `gs://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        """Raises UnreachableError without credentials: the platform's come over the network."""
        name, _, self._prefix = url.removeprefix("gs://").partition("/")
        try:
            self._bucket = storage.Client(project=None).bucket(name)
        except (auth.DefaultCredentialsError, OSError, ValueError) as error:
            raise UnreachableError(
                "there are no Google credentials here; run `gcloud auth application-default "
                "login`, or set GOOGLE_APPLICATION_CREDENTIALS"
            ) from error

    def save(self, name: str, sink: Sink, unless: str = "") -> str | None:
        """As `Remote.save`; the version is the object's generation."""
        return persist(lambda: self._save(name, sink, unless), sink)

    def _save(self, name: str, sink: Sink, unless: str) -> str | None:
        path = f"{self._prefix.rstrip('/')}/{name}".lstrip("/") if name else self._prefix
        blob = self._bucket.blob(path)
        # `persist` tries again, from the start: the client's own retries last for minutes.
        try:
            blob.reload(timeout=_TIMEOUT, retry=None)
            version = str(blob.generation)
            if version == unless:
                return None
            sink.expect(blob.size)
            blob.download_to_file(
                sink, if_generation_match=blob.generation, timeout=_TIMEOUT, retry=None
            )
        except api.NotFound as error:
            raise SourceError("there is nothing at this address (status 404)") from error
        except (api.Forbidden, api.Unauthorized) as error:
            raise SourceError("these credentials may not read it") from error
        except auth.RefreshError as error:
            raise UnreachableError("Google does not accept or renew the credentials") from error
        except api.PreconditionFailed as error:
            raise UnreachableError("it changed while it was read") from error
        except api.TooManyRequests as error:
            raise UnreachableError("the bucket is asked too often") from error
        except api.ClientError as error:
            raise SourceError(f"the bucket answers with status {error.code}") from error
        except (
            api.GoogleAPIError,
            auth.GoogleAuthError,
            storage.exceptions.DataCorruption,
        ) as error:
            raise UnreachableError("the bucket does not answer as it should") from error
        except OSError as error:  # the requests library's errors are OSErrors
            raise UnreachableError("the bucket cannot be reached") from error
        return version
