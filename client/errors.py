"""What can go wrong between a caller and the backend.

ClientError
├── BackendUnreachable   no answer: nothing listens there, or it took too long
├── BackendError         an answer that says no: a status of 300 or more, with its problem document
└── InvalidAnswer        an answer that is not what the backend promises
"""


class ClientError(Exception):
    """Anything this client raises once it has been given a valid address."""


class BackendUnreachable(ClientError):  # noqa: N818 (says what happened)
    """Nothing answered at `url`; `timed_out` tells silence from a refused connection."""

    def __init__(self, url: str, *, timed_out: bool = False) -> None:
        super().__init__(f"no answer from {url} {'in time' if timed_out else '(not reachable)'}")
        self.url = url
        self.timed_out = timed_out


class BackendError(ClientError):
    """The backend refused, in the words of its problem document (RFC 9457).

    `code` is a word of the backend's fixed catalogue, or "" where something between (a proxy)
    answered; `retry_after` is in seconds, None where the answer did not name any.
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


class InvalidAnswer(ClientError):  # noqa: N818 (says what happened)
    """The reply is not what the backend promises: perhaps something else listens there."""
