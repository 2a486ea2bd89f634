"""Google Cloud Storage with Application Default Credentials."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from backend.inference.errors import SourceError, UnreachableError
from backend.sources.remote import CONNECT_SECONDS, READ_SECONDS, DownloadFile, retry_unreachable

# Without a metadata server google-auth would wait 12 s for one. It reads these at import.
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

TIMEOUT: Final = (CONNECT_SECONDS, READ_SECONDS)


class GcsRemote:
    """The objects below `gs://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        """Raise UnreachableError without credentials: they may come from a metadata server."""
        self._bucket, self._prefix = open_bucket(url)

    def download(self, name: str, file: DownloadFile, unless_version: str = "") -> str | None:
        """See `Remote.download`; the version is the object's generation."""
        return retry_unreachable(lambda: self._download(name, file, unless_version), file)

    def _download(self, name: str, file: DownloadFile, unless_version: str) -> str | None:
        path = f"{self._prefix.rstrip('/')}/{name}".lstrip("/") if name else self._prefix
        blob = self._bucket.blob(path)
        # `retry_unreachable` retries: the retries of the client take minutes.
        with gcs_errors():
            blob.reload(timeout=TIMEOUT, retry=None)
            version = str(blob.generation)
            if version == unless_version:
                return None
            file.check_size(blob.size)
            blob.download_to_file(
                file, if_generation_match=blob.generation, timeout=TIMEOUT, retry=None
            )
        return version


def open_bucket(url: str) -> tuple[storage.Bucket, str]:
    """Return the bucket and the prefix of `gs://bucket/prefix`.

    Raise UnreachableError without credentials.
    """
    name, _, prefix = url.removeprefix("gs://").partition("/")
    try:
        return storage.Client(project=None).bucket(name), prefix
    except (auth.DefaultCredentialsError, OSError, ValueError) as error:
        raise UnreachableError(
            "no Google credentials found; run `gcloud auth application-default "
            "login`, or set GOOGLE_APPLICATION_CREDENTIALS"
        ) from error


@contextmanager
def gcs_errors() -> Iterator[None]:
    """Raise UnreachableError for temporary failures of the client, else SourceError."""
    try:
        yield
    except api.NotFound as error:
        raise SourceError("not found (status 404)") from error
    except (api.Forbidden, api.Unauthorized) as error:
        raise SourceError("the credentials do not permit reading it") from error
    except auth.RefreshError as error:
        raise UnreachableError("the Google credentials cannot be refreshed") from error
    except api.PreconditionFailed as error:
        raise UnreachableError("it changed during the download") from error
    except api.TooManyRequests as error:
        raise UnreachableError("too many requests to the bucket (status 429)") from error
    except api.ClientError as error:
        raise SourceError(f"the bucket responded with status {error.code}") from error
    except (
        api.GoogleAPIError,
        auth.GoogleAuthError,
        storage.exceptions.DataCorruption,
    ) as error:
        raise UnreachableError("the bucket sent an invalid response") from error
    except OSError as error:  # errors of requests are OSErrors
        raise UnreachableError("the bucket is unreachable") from error
