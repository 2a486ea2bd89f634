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
    InvalidAnswer,
    ItemError,
    ModelInfo,
)
from evaluation.errors import PredictorError
from evaluation.types import Answer, Failure

REQUEST_PICTURES: Final = 32
REQUEST_BYTES: Final = 8_000_000
REQUESTS: Final = 2  # in flight: one is on its way while the other is worked on
TRIES: Final = 5
PAUSE: Final = 1.0  # s, doubled from try to try, where the backend asks for none
LONGEST_PAUSE: Final = 8.0  # s
MAX_WAIT: Final = 60.0  # s, however long the backend asks for
_PASSING: Final = frozenset({408, 429, 502, 503, 504})
_AWAY: Final = frozenset({502, 503})  # of a whole request: starting, ending, or not there
_TOO_LARGE: Final = 413

Result = Answer | Failure


@dataclass(frozen=True, slots=True)
class _Later:
    """Refused for the moment; `seconds` as the backend asked for, `silent` where it is away."""

    reason: str
    seconds: float | None = None
    silent: bool = False


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
        for part in _parts(contents):
            flying.append(self._pool.submit(self._ask, part))
            if len(flying) == REQUESTS:
                yield from flying.popleft().result()
        while flying:
            yield from flying.popleft().result()

    def _ask(self, pictures: Sequence[bytes]) -> list[Result]:
        """Ask until each picture has an answer, a refusal that stays, or was refused too often."""
        results: dict[int, Result] = {}
        left = list(range(len(pictures)))
        for attempt in range(self._tries):
            answers = zip(left, self._once([pictures[at] for at in left]), strict=True)
            later: dict[int, _Later] = {}
            for at, answer in answers:
                if isinstance(answer, _Later):
                    later[at] = answer
                else:
                    results[at] = answer
            left = list(later)
            if not left:
                break
            if attempt + 1 < self._tries:
                self._wait(later.values(), min(PAUSE * 2**attempt, LONGEST_PAUSE))
        else:
            if all(one.silent for one in later.values()):
                raise PredictorError(f"{self._url} answers no more: {later[left[0]].reason}")
            results |= {at: Failure(one.reason) for at, one in later.items()}
        return [results[at] for at in range(len(pictures))]

    def _once(self, pictures: Sequence[bytes]) -> list[Result | _Later]:
        """One request; in halves where it is too large for the backend."""
        parts = [("picture", content) for content in pictures]
        try:
            answers = self._client.classify_batch(
                parts, model=self.name, top_k=1, coverage=self._coverage, store=False
            )
            return [self._result(answer) for answer in answers]
        except BackendError as error:
            if error.status == _TOO_LARGE and len(pictures) > 1:
                middle = len(pictures) // 2
                return self._once(pictures[:middle]) + self._once(pictures[middle:])
            if error.status == _TOO_LARGE:
                return [Failure(_words(error))]
            if error.status in _PASSING:
                away = error.status in _AWAY
                return [_Later(_words(error), error.retry_after, away)] * len(pictures)
            raise PredictorError(f"{self._url} refuses: {_words(error)}") from error
        except (BackendUnreachable, InvalidAnswer) as error:
            return [_Later(str(error), silent=True)] * len(pictures)

    def _result(self, answer: Classification | ItemError) -> Result | _Later:
        if isinstance(answer, ItemError):
            reason = _words(answer.error)
            return _Later(reason) if answer.error.status in _PASSING else Failure(reason)
        if answer.probabilities is None or len(answer.probabilities) != len(self.labels):
            raise PredictorError(f"{self._url} gives no probability for each of the labels")
        return _answer(answer)

    def _wait(self, refusals: Iterable[_Later], pause: float) -> None:
        """Wait as long as the backend asks for, else for the `pause`; no longer than a minute."""
        asked = max(one.seconds or pause for one in refusals)
        self._waiting(next(iter(refusals)).reason)
        if self._stop.wait(min(asked, MAX_WAIT)):
            raise PredictorError("it was stopped by the user")

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


def _parts(contents: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Gather pictures into requests of moderate size."""
    part: list[bytes] = []
    size = 0
    for content in contents:
        if part and (len(part) == REQUEST_PICTURES or size + len(content) > REQUEST_BYTES):
            yield part
            part, size = [], 0
        part.append(content)
        size += len(content)
    if part:
        yield part


def _words(error: BackendError) -> str:
    return error.detail or error.title or str(error)
