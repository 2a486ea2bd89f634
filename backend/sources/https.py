"""Downloads over HTTPS."""

from urllib.parse import quote, urlsplit

from backend.sources.http_client import HttpClient, save_response
from backend.sources.remote import DownloadFile, retry_unreachable


class HttpsRemote:
    """The files below a URL; `allow_private` permits http and private addresses."""

    def __init__(self, url: str, *, allow_private: bool) -> None:
        self._base = urlsplit(url)
        self._client = HttpClient(url, allow_private=allow_private)

    def download(self, name: str, file: DownloadFile, unless_version: str = "") -> str | None:
        """See `Remote.download`; the version is the ETag, or else the Last-Modified header."""
        return retry_unreachable(lambda: self._download(name, file, unless_version), file)

    def _download(self, name: str, file: DownloadFile, unless_version: str) -> str | None:
        path = f"{self._base.path.rstrip('/')}/{quote(name)}" if name else self._base.path
        url = self._base._replace(path=path).geturl()
        with self._client.open(url, _condition(unless_version)) as response:
            if response.status == 304 and unless_version:
                return None
            return save_response(response, file)


def _condition(version: str) -> dict[str, str]:
    if not version:
        return {}
    is_etag = version.startswith(('"', "W/"))
    return {"If-None-Match" if is_etag else "If-Modified-Since": version}
