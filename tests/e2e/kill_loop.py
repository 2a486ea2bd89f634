"""Repeated SIGKILL under load: is every classification reported as stored in the history?

python -m tests.e2e.kill_loop 20

Each round starts a backend on the same database, sends requests continuously, and kills it. In the
end the history must contain every classification reported as stored, once.
"""

import random
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

import httpx

from tests.e2e.backend_process import BackendProcess
from tests.e2e.drain_loop import DIGIT_PNG
from tests.history.postgres import Postgres

CLIENTS = 4
MIN_STORED = 100  # stored classifications per round


class StoredIds:
    """The ids of the classifications reported as stored; thread-safe."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.added = threading.Semaphore(0)

    def add(self, classification_id: str) -> None:
        """Add an id."""
        self.ids.append(classification_id)
        self.added.release()


def run_round(stored: StoredIds, **environ: str) -> None:
    """Start a backend, send requests, and kill it once enough classifications are stored."""
    with BackendProcess(None, PRISM_HISTORY_OPEN="true", **environ) as backend:
        backend.wait_until_ready()
        threads = [
            threading.Thread(target=_send_requests, args=(backend.url, stored))
            for _ in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for _ in range(MIN_STORED + random.randrange(MIN_STORED)):
            assert stored.added.acquire(timeout=60), "nothing is stored"
        backend.process.kill()
        for thread in threads:
            thread.join()


def run_database_rounds(stored: StoredIds, postgres: Postgres, rounds: int, **environ: str) -> None:
    """Send requests to one backend and kill its database `rounds` times."""
    with BackendProcess(None, PRISM_HISTORY_OPEN="true", **environ) as backend:
        backend.wait_until_ready()
        threads = [
            threading.Thread(target=_send_requests, args=(backend.url, stored))
            for _ in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        for number in range(rounds + 1):
            for _ in range(MIN_STORED + random.randrange(MIN_STORED)):
                assert stored.added.acquire(timeout=60), "nothing is stored"
            if number < rounds:
                postgres.kill()
                postgres.start()
        backend.process.kill()
        for thread in threads:
            thread.join()


def count_ids(**environ: str) -> Counter[str]:
    """Return how often each id is in the history."""
    with BackendProcess(None, PRISM_HISTORY_OPEN="true", **environ) as backend:
        backend.wait_until_ready()
        while (response := backend.get("/history/export?format=csv")).status_code != 200:
            assert response.status_code == 503, response.text
        return Counter(line.split(",")[0] for line in response.text.splitlines()[1:])


def _send_requests(url: str, stored: StoredIds) -> None:
    with httpx.Client(trust_env=False, timeout=20) as client:
        while True:
            try:
                classification = client.post(f"{url}/classify", files={"file": DIGIT_PNG}).json()
            except httpx.TransportError:
                return  # killed
            if classification["stored"]:
                stored.add(classification["id"])


def main() -> None:
    """Print how many classifications were stored, lost and duplicated."""
    stored = StoredIds()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(int(sys.argv[1])):
            run_round(stored, PRISM_DATA_DIR=folder)
            print(number + 1, len(stored.ids), flush=True)
        counts = count_ids(PRISM_DATA_DIR=str(Path(folder)))
    lost = [one for one in stored.ids if counts[one] == 0]
    duplicated = sum(counts.values()) - len(counts)
    print(f"stored {len(stored.ids)}, lost {len(lost)}, duplicated {duplicated}")


if __name__ == "__main__":
    main()
