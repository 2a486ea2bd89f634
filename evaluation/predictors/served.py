"""A model served by a backend, called through its batch endpoint."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from client import (
    BackendError,
    BackendUnreachable,
    Classification,
    Client,
    ClientError,
    InvalidResponse,
    ItemError,
    ModelInfo,
)
from client.batches import split_batches
from client.retry import Retry, is_temporary
from evaluation.errors import PredictorError
from evaluation.types import Failure, ModelOutput

MAX_REQUEST_IMAGES: Final = 32
MAX_REQUEST_BYTES: Final = 8_000_000
CONCURRENT_REQUESTS: Final = 2  # one is uploaded while the other is classified
MAX_ATTEMPTS: Final = 5
INITIAL_DELAY: Final = 1.0  # s, doubled for each attempt without a Retry-After
MAX_DELAY: Final = 8.0  # s
MAX_RETRY_AFTER: Final = 60.0  # s, upper bound of the backend's Retry-After
_UNAVAILABLE: Final = frozenset({502, 503})  # of a whole request
_TOO_LARGE: Final = 413

Result = ModelOutput | Failure


@dataclass(frozen=True, slots=True)
class _TemporaryFailure:
    """Failure of one image that a retry may resolve.

    `is_unavailable` is true if the backend did not process the request at all.
    """

    error: ClientError
    is_unavailable: bool = False


class ServedPredictor:
    """Classifies images with a model of a backend, by default the backend's default model.

    `backend` is a URL or a client. Temporary failures are retried, up to `max_attempts` attempts in
    total, after the backend's Retry-After. Setting `stop` ends the waiting. `on_wait` is called
    with the reason before each wait, from another thread. Close it, or use it as a context manager;
    a client passed as `backend` stays open. Raise PredictorError if the backend cannot be reached
    or does not serve the model.
    """

    def __init__(
        self,
        backend: str | Client,
        model: str | None = None,
        *,
        coverage: float = 0.95,
        stop: threading.Event | None = None,
        max_attempts: int = MAX_ATTEMPTS,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._is_own = isinstance(backend, str)
        self._client = _create_client(backend) if isinstance(backend, str) else backend
        try:
            info = _find_model(self._client, model)
        except PredictorError:
            self._close_client()
            raise
        self._url = self._client.url
        self._coverage = coverage
        self._stop = stop or threading.Event()
        self._max_attempts = max_attempts
        self._on_wait = on_wait
        self._pool = ThreadPoolExecutor(CONCURRENT_REQUESTS, thread_name_prefix="served-predictor")
        self.name: Final = info.name
        self.version: Final = info.version
        self.labels: Final = info.labels
        self.task: Final = info.task
        self.label_ids: Final[Sequence[str] | None] = info.label_ids

    def __enter__(self) -> "ServedPredictor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, unless the client was passed in."""
        self._pool.shutdown(cancel_futures=True)
        self._close_client()

    def __call__(self, contents: Iterator[bytes]) -> Iterator[Result]:
        """Yield the results in order; requests are concurrent."""
        pending: deque[Future[list[Result]]] = deque()
        batches = split_batches(
            contents, max_items=MAX_REQUEST_IMAGES, max_bytes=MAX_REQUEST_BYTES, size=len
        )
        for batch in batches:
            pending.append(self._pool.submit(self._classify, batch))
            if len(pending) == CONCURRENT_REQUESTS:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()

    def _classify(self, contents: Sequence[bytes]) -> list[Result]:
        """Classify the images of one request; retry those that fail temporarily."""
        retry = Retry(
            self._stop,
            on_wait=lambda error, seconds: self._on_wait(_message(error)),
            max_attempts=self._max_attempts,
            initial_delay=INITIAL_DELAY,
            max_delay=MAX_DELAY,
            max_retry_after=MAX_RETRY_AFTER,
            invalid_response=True,
        )
        results: dict[int, Result] = {}
        pending = list(range(len(contents)))
        while pending:
            outcomes = self._request([contents[i] for i in pending])
            failures: dict[int, _TemporaryFailure] = {}
            for i, outcome in zip(pending, outcomes, strict=True):
                if isinstance(outcome, _TemporaryFailure):
                    failures[i] = outcome
                else:
                    results[i] = outcome
            pending = list(failures)
            if not pending or retry.wait(_longest_wait(failures.values())):
                continue
            if self._stop.is_set():
                raise PredictorError("stopped by the user")
            if all(failure.is_unavailable for failure in failures.values()):
                reason = _message(failures[pending[0]].error)
                raise PredictorError(f"{self._url} stopped responding: {reason}")
            results |= {i: Failure(_message(failure.error)) for i, failure in failures.items()}
            break
        return [results[i] for i in range(len(contents))]

    def _request(self, contents: Sequence[bytes]) -> list[Result | _TemporaryFailure]:
        """Send one request; split it in halves if it is too large for the backend."""
        files = [("image", content) for content in contents]
        try:
            responses = self._client.classify_batch(
                files, model=self.name, top_k=1, coverage=self._coverage, store=False
            )
            return [self._result(response) for response in responses]
        except BackendError as error:
            if error.status == _TOO_LARGE and len(contents) > 1:
                middle = len(contents) // 2
                return self._request(contents[:middle]) + self._request(contents[middle:])
            if error.status == _TOO_LARGE:
                return [Failure(_message(error))]
            if is_temporary(error):
                is_unavailable = error.status in _UNAVAILABLE
                return [_TemporaryFailure(error, is_unavailable)] * len(contents)
            raise PredictorError(f"{self._url} rejected the request: {_message(error)}") from error
        except (BackendUnreachable, InvalidResponse) as error:
            return [_TemporaryFailure(error, is_unavailable=True)] * len(contents)

    def _result(self, response: Classification | ItemError) -> Result | _TemporaryFailure:
        if isinstance(response, ItemError):
            if is_temporary(response.error):
                return _TemporaryFailure(response.error)
            return Failure(_message(response.error))
        if response.probabilities is None or len(response.probabilities) != len(self.labels):
            raise PredictorError(f"{self._url} did not return one probability per label")
        if (response.labels is None) == (self.task == "multi-label"):
            raise PredictorError(f"{self._url} did not return labels as the task {self.task} needs")
        return _to_output(response)

    def _close_client(self) -> None:
        if self._is_own:
            self._client.close()


def _create_client(url: str) -> Client:
    try:
        return Client(url, api_key=os.environ.get("BACKEND_API_KEY"))
    except ValueError as error:
        raise PredictorError(str(error)) from error


def _to_output(response: Classification) -> ModelOutput:
    return ModelOutput(
        probabilities=np.array(response.probabilities, np.float32),
        prediction_set=response.prediction_set,
        coverage=response.coverage,
        in_distribution=response.in_distribution,
        ood_score=response.ood_score,
        labels=None if response.labels is None else tuple(score.label for score in response.labels),
        seconds=(response.timings.decode + response.timings.inference) / 1e3,
    )


def _find_model(client: Client, name: str | None) -> ModelInfo:
    url = client.url
    try:
        served = client.models()
    except ClientError as error:
        raise PredictorError(f"{url}: {error}") from error
    name = name or served.default
    known = ", ".join(model.name for model in served.models)
    if name == "auto":
        raise PredictorError(
            f"{url} chooses the model automatically; name one with --model: {known}"
        )
    info = served.get(name)
    if info is None:
        raise PredictorError(f"{url} does not serve the model {name!r}, only {known}")
    if info.state != "ready":
        raise PredictorError(
            f"{url} reports that the model {info.name} is not ready ({info.state})"
        )
    return info


def _longest_wait(failures: Iterable[_TemporaryFailure]) -> ClientError:
    """Return the error with the largest Retry-After, the first error if none has one."""
    return max((failure.error for failure in failures), key=_retry_after)


def _retry_after(error: ClientError) -> float:
    return (error.retry_after if isinstance(error, BackendError) else None) or 0.0


def _message(error: ClientError) -> str:
    if isinstance(error, BackendError):
        return error.detail or error.title or str(error)
    return str(error)
