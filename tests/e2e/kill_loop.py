"""kill -9 under load, again and again: what became of every answer that was called stored.

python -m tests.e2e.kill_loop 20

Each round starts a backend on the same database, lets clients ask it without pause, and kills it in
the midst of it. In the end the history has to hold every answer that was called stored, once.
"""

import random
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

import httpx

from tests.e2e.backend_process import BackendProcess
from tests.e2e.drain_loop import DIGIT
from tests.history.postgres import Postgres

CLIENTS = 4
ENOUGH = 100  # stored answers of a round, at least


class Answers:
    """The ids of the answers that were called stored, by any thread."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.enough = threading.Semaphore(0)

    def note(self, answer_id: str) -> None:
        """Remember one."""
        self.stored.append(answer_id)
        self.enough.release()


def one_round(answers: Answers, **environ: str) -> None:
    """Start a backend, ask it, and kill it once enough answers were stored."""
    with BackendProcess(None, PRISM_HISTORY_OPEN="true", **environ) as backend:
        backend.wait_until_ready()
        threads = [
            threading.Thread(target=_ask, args=(backend.url, answers)) for _ in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for _ in range(ENOUGH + random.randrange(ENOUGH)):
            assert answers.enough.acquire(timeout=60), "nothing is stored"
        backend.process.kill()
        for thread in threads:
            thread.join()


def database_rounds(answers: Answers, postgres: Postgres, rounds: int, **environ: str) -> None:
    """Ask one backend without pause, and kill its database in the midst of it so many times."""
    with BackendProcess(None, PRISM_HISTORY_OPEN="true", **environ) as backend:
        backend.wait_until_ready()
        threads = [
            threading.Thread(target=_ask, args=(backend.url, answers)) for _ in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for number in range(rounds + 1):
            for _ in range(ENOUGH + random.randrange(ENOUGH)):
                assert answers.enough.acquire(timeout=60), "nothing is stored"
            if number < rounds:
                postgres.kill()
                postgres.start()
        backend.process.kill()
        for thread in threads:
            thread.join()


def found(**environ: str) -> Counter[str]:
    """How often each id is in the history."""
    with BackendProcess(None, PRISM_HISTORY_OPEN="true", **environ) as backend:
        backend.wait_until_ready()
        while (answer := backend.get("/history/export?format=csv")).status_code != 200:
            assert answer.status_code == 503, answer.text
        return Counter(line.split(",")[0] for line in answer.text.splitlines()[1:])


def _ask(url: str, answers: Answers) -> None:
    with httpx.Client(trust_env=False, timeout=20) as client:
        while True:
            try:
                answer = client.post(f"{url}/classify", files={"file": DIGIT}).json()
            except httpx.TransportError:
                return  # killed
            if answer["stored"]:
                answers.note(answer["id"])


def main() -> None:
    """Print how many answers were called stored, and how many of them are lost or doubled."""
    answers = Answers()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(int(sys.argv[1])):
            one_round(answers, PRISM_DATA_DIR=folder)
            print(number + 1, len(answers.stored), flush=True)
        ids = found(PRISM_DATA_DIR=str(Path(folder)))
    lost = [one for one in answers.stored if ids[one] == 0]
    print(f"stored {len(answers.stored)}, lost {len(lost)}, doubled {sum(ids.values()) - len(ids)}")


if __name__ == "__main__":
    main()
