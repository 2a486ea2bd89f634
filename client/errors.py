"""Errors of the client.

ClientError
├── BackendUnreachable   no response: the connection failed or timed out
├── BackendError         a response with a status of 300 or more, and its problem document
├── InvalidResponse      a response that does not follow the API, or ends early
└── UnreadableFile       a file that was not sent; only a result of classify_files
"""


class ClientError(Exception):
    """Base class of all errors that requests of the client raise."""


class BackendUnreachable(ClientError):  # noqa: N818 (names the cause)
    """No response from `url`; `timed_out` distinguishes a timeout from a failed connection."""

    def __init__(self, url: str, *, timed_out: bool = False) -> None:
        super().__init__(f"no response from {url} {'in time' if timed_out else '(not reachable)'}")
        self.url = url
        self.timed_out = timed_out


class BackendError(ClientError):
    """An error response of the backend, with its problem document (RFC 9457).

    `code` is one of the backend's error codes, or "" if a proxy sent the response. `retry_after` is
    in seconds, None without such a header.
    """

    def __init__(
        self,
        *,
        status: int,
        code: str = "",
        title: str = "",
        detail: str = "",
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {code or title}: {detail}".rstrip(": "))
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.request_id = request_id
        self.retry_after = retry_after


class InvalidResponse(ClientError):  # noqa: N818 (names the cause)
    """A response that does not follow the API: the URL may belong to another service."""


class UnreadableFile(ClientError):  # noqa: N818 (names the cause)
    """A file that cannot be read; the message continues a sentence that starts with its name."""
