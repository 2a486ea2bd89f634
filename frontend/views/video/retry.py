"""Asking a backend that may be busy or away: waiting for it, but not for ever."""

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic
from typing import Final

from client import BackendError, Client, ClientError
from frontend.datasets.images import Picture
from frontend.service import predictions
from frontend.service.errors import is_lasting
from frontend.service.predictions import Memory, Outcome, Question
from frontend.state.jobs import Job

PATIENCE: Final = 120.0  # s without a single answer, until the backend is given up
PAUSE: Final = 1.0  # s between two tries, where the backend names no time
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
MAX_PAUSE: Final = 30.0  # s, however long the backend asks for


class Asker:
    """Asks for pictures of a job until all have an answer, or `failure` says why not.

    A picture that cannot be read is an outcome like any other. Once there is a failure, or the
    job is cancelled, nothing is asked any more.
    """

    def __init__(
        self, client: Client, question: Question, job: Job, *, patience: float = PATIENCE
    ) -> None:
        self.failure: ClientError | None = None
        self._client = client
        self._question = replace(question, store=False)  # a clip would flood the history
        self._job = job
        self._patience = patience
        self._memory = Memory()

    def __call__(self, pictures: Sequence[Picture]) -> list[Outcome]:
        """Return an outcome for each picture; those up to the first without one at a failure."""
        silent_since = monotonic()
        answered = -1
        while self.failure is None and not self._job.stop.is_set():
            outcomes = predictions.ask(self._client, self._question, pictures, self._memory)
            troubles = [one for one in outcomes if isinstance(one, ClientError)]
            troubles = [error for error in troubles if not is_lasting(error)]
            if not troubles:
                return outcomes
            if len(outcomes) - len(troubles) > answered:
                answered, silent_since = len(outcomes) - len(troubles), monotonic()
            if not _passes(troubles[0]) or monotonic() - silent_since > self._patience:
                self.failure = troubles[0]
            else:
                self._wait(troubles[0])
        return self._known(pictures)

    def _wait(self, error: ClientError) -> None:
        """Wait as long as the backend asks for, or until the job is stopped."""
        asked = error.retry_after if isinstance(error, BackendError) else None
        state = "busy" if isinstance(error, BackendError) else "not reachable"
        self._job.note = f"Waiting for the backend, which is {state}."
        self._job.stop.wait(min(asked or PAUSE, MAX_PAUSE))

    def _known(self, pictures: Sequence[Picture]) -> list[Outcome]:
        outcomes = []
        for picture in pictures:
            if (outcome := self._memory.get(picture, self._question)) is None:
                break
            outcomes.append(outcome)
        return outcomes


def _passes(error: ClientError) -> bool:
    """Tell whether waiting may help."""
    return not isinstance(error, BackendError) or error.status in _PASSING
