"""A model behind a URL, asked through the backend's batches."""

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
from evaluation.types import Answer, Failure

REQUEST_PICTURES: Final = 32
REQUEST_BYTES: Final = 8_000_000
REQUESTS: Final = 2  # in flight: one is on its way while the other is worked on
TRIES: Final = 5
INITIAL_DELAY: Final = 1.0  # s, doubled for each attempt without a Retry-After
MAX_DELAY: Final = 8.0  # s
MAX_RETRY_AFTER: Final = 60.0  # s, upper bound of the backend's Retry-After
_UNAVAILABLE: Final = frozenset({502, 503})  # of a whole request
_TOO_LARGE: Final = 413

Result = Answer | Failure


@dataclass(frozen=True, slots=True)
class _TemporaryFailure:
    """Failure of one image that a retry may resolve.

    `is_unavailable` tells that the backend did not process the request at all.
    """

    error: ClientError
    is_unavailable: bool = False


class ServedPredictor:
    """Asks a backend, given by its URL or a client, about its model `model` (None: its default).

    What it refuses for the moment is asked again, up to `tries` times in all, after the time that
    it names; a `stop` that is set ends the waiting. `waiting` is told, from a thread, why it waits.
    Close it, or use it in a `with`: a client that was given stays open. Raises PredictorError where
    the backend or the model is not there.
    """

    def __init__(
        self,
        backend: str | Client,
        model: str | None = None,
        *,
        coverage: float = 0.95,
        stop: threading.Event | None = None,
        tries: int = TRIES,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._is_own = isinstance(backend, str)
        self._client = _client(backend) if isinstance(backend, str) else backend
        try:
            info = _find(self._client, model)
        except PredictorError:
            self._close_client()
            raise
        self._url = self._client.url
        self._coverage = coverage
        self._stop = stop or threading.Event()
        self._tries = tries
        self._waiting = waiting
        self._pool = ThreadPoolExecutor(REQUESTS, thread_name_prefix="served-predictor")
        self.name: Final = info.name
        self.version: Final = info.version
        self.labels: Final = info.labels

    def __enter__(self) -> "ServedPredictor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._pool.shutdown(cancel_futures=True)
        self._close_client()

    def __call__(self, contents: Iterator[bytes]) -> Iterator[Result]:
        """Answer the pictures in order, some requests of moderate size in flight."""
        flying: deque[Future[list[Result]]] = deque()
        batches = split_batches(
            contents, max_items=REQUEST_PICTURES, max_bytes=REQUEST_BYTES, size=len
        )
        for batch in batches:
            flying.append(self._pool.submit(self._ask, batch))
            if len(flying) == REQUESTS:
                yield from flying.popleft().result()
        while flying:
            yield from flying.popleft().result()

    def _ask(self, pictures: Sequence[bytes]) -> list[Result]:
        """Classify the images of one request; retry those that fail temporarily."""
        retry = Retry(
            self._stop,
            on_wait=lambda error, seconds: self._waiting(_message(error)),
            max_attempts=self._tries,
            initial_delay=INITIAL_DELAY,
            max_delay=MAX_DELAY,
            max_retry_after=MAX_RETRY_AFTER,
            invalid_response=True,
        )
        results: dict[int, Result] = {}
        pending = list(range(len(pictures)))
        while pending:
            outcomes = self._request([pictures[i] for i in pending])
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
                raise PredictorError("it was stopped by the user")
            if all(failure.is_unavailable for failure in failures.values()):
                reason = _message(failures[pending[0]].error)
                raise PredictorError(f"{self._url} answers no more: {reason}")
            results |= {i: Failure(_message(failure.error)) for i, failure in failures.items()}
            break
        return [results[i] for i in range(len(pictures))]

    def _request(self, pictures: Sequence[bytes]) -> list[Result | _TemporaryFailure]:
        """Send one request; split it in halves if it is too large for the backend."""
        parts = [("picture", content) for content in pictures]
        try:
            answers = self._client.classify_batch(
                parts, model=self.name, top_k=1, coverage=self._coverage, store=False
            )
            return [self._result(answer) for answer in answers]
        except BackendError as error:
            if error.status == _TOO_LARGE and len(pictures) > 1:
                middle = len(pictures) // 2
                return self._request(pictures[:middle]) + self._request(pictures[middle:])
            if error.status == _TOO_LARGE:
                return [Failure(_message(error))]
            if is_temporary(error):
                is_unavailable = error.status in _UNAVAILABLE
                return [_TemporaryFailure(error, is_unavailable)] * len(pictures)
            raise PredictorError(f"{self._url} refuses: {_message(error)}") from error
        except (BackendUnreachable, InvalidResponse) as error:
            return [_TemporaryFailure(error, is_unavailable=True)] * len(pictures)

    def _result(self, answer: Classification | ItemError) -> Result | _TemporaryFailure:
        if isinstance(answer, ItemError):
            if is_temporary(answer.error):
                return _TemporaryFailure(answer.error)
            return Failure(_message(answer.error))
        if answer.probabilities is None or len(answer.probabilities) != len(self.labels):
            raise PredictorError(f"{self._url} gives no probability for each of the labels")
        return _answer(answer)

    def _close_client(self) -> None:
        if self._is_own:
            self._client.close()


def _client(url: str) -> Client:
    try:
        return Client(url, api_key=os.environ.get("BACKEND_API_KEY"))
    except ValueError as error:
        raise PredictorError(str(error)) from error


def _answer(answer: Classification) -> Answer:
    return Answer(
        probabilities=np.array(answer.probabilities, np.float32),
        prediction_set=answer.prediction_set,
        coverage=answer.coverage,
        in_distribution=answer.in_distribution,
        ood_score=answer.ood_score,
        seconds=(answer.timings.decode + answer.timings.inference) / 1e3,
    )


def _find(client: Client, name: str | None) -> ModelInfo:
    url = client.url
    try:
        served = client.models()
    except ClientError as error:
        raise PredictorError(f"{url}: {error}") from error
    info = served.get(name or served.default)
    if info is None:
        known = ", ".join(model.name for model in served.models)
        raise PredictorError(f"{url} serves no model {name!r}; it serves {known}")
    if info.state != "ready":
        raise PredictorError(f"{url}: the model {info.name} is not ready ({info.state})")
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
