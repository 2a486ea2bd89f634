"""Repeated activation of two versions under load: does a request fail, does memory grow?

python -m tests.e2e.swap_loop 1000 --workers 2

Starts a backend and clients that classify without pause, on the active version and on named ones.
Every activation must be seen by every worker. The memory of all workers is printed on the way.
"""

import argparse
import json
import resource
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx

from client import Client
from tests.e2e.backend_process import BackendProcess
from tests.e2e.process_sockets import child_workers
from tests.images import encoded, seven
from tests.registry.heads import photo_upload

CLIENTS = 4
IMAGE = encoded(seven())
ENVIRON = {
    "WEB_CONCURRENCY": "2",
    "PRISM_MODELS_OPEN": "true",
    "PRISM_MODELS": "photos,mnist-cnn",
    "PRISM_TIMEOUT": "300",  # a busy machine must not look like a failed swap
    "PRISM_MEASURE": "false",
    "PRISM_HISTORY": "false",
}


class Load:
    """Clients that classify without pause, each request on a new connection."""

    def __init__(self, url: str) -> None:
        self.statuses = Counter[int]()
        self._url = url
        self._is_stopped = threading.Event()
        models = ("letters", "letters@1", "letters@latest", "photos")
        self._threads = [threading.Thread(target=self._run, args=(model,)) for model in models]
        for thread in self._threads:
            thread.start()

    def stop(self) -> Counter[int]:
        """Stop the clients, and return how often each status was received."""
        self._is_stopped.set()
        for thread in self._threads:
            thread.join()
        return self.statuses

    def _run(self, model: str) -> None:
        url = f"{self._url}/classify?model={model}"
        while not self._is_stopped.is_set():
            response = httpx.post(url, files={"file": IMAGE}, timeout=300, trust_env=False)
            self.statuses[response.status_code] += 1


def upload(url: str, seed: int, name: str = "letters") -> int:
    """Upload a model with random weights; return its version."""
    with Client(url) as client:
        return client.put_model(name, *photo_upload(seed)).version


def active_labels(url: str, count: int = 20) -> set[str]:
    """Return which versions answer `count` requests on new connections, by their first label."""
    target = f"{url}/classify?model=letters&top_k=2&probabilities=false"
    return {
        min(
            each["label"]
            for each in httpx.post(
                target, files={"file": IMAGE}, timeout=300, trust_env=False
            ).json()["top"]
        )
        for _ in range(count)
    }


def seconds_until_active(url: str, label: str) -> float:
    """Return after how many seconds all of 20 requests on new connections get `label`."""
    started = time.monotonic()
    while True:
        asked = time.monotonic()
        if active_labels(url) == {label}:
            return asked - started
        assert asked < started + 60, "a worker does not apply the change"


def memory(backend: BackendProcess) -> int:
    """Return the bytes that the workers, or a service without workers, use."""
    pid = backend.process.pid
    pages = (
        int(Path(f"/proc/{each}/statm").read_text().split()[1])
        for each in child_workers(pid) or [pid]
    )
    return sum(pages) * resource.getpagesize()


def main() -> None:
    """Activate versions, and print the statuses and the memory."""
    parser = argparse.ArgumentParser(description="Activate two versions in turn under load.")
    parser.add_argument("swaps", type=int, nargs="?", default=1000)
    parser.add_argument("--workers", default="2")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        BackendProcess(
            None, **ENVIRON | {"PRISM_DATA_DIR": folder, "WEB_CONCURRENCY": options.workers}
        ) as backend,
    ):
        backend.wait_until_ready()
        for seed in (1, 2):
            upload(backend.url, seed)
        load = Load(backend.url)
        time.sleep(5)
        started = time.monotonic()
        with Client(backend.url) as client:
            for number in range(options.swaps):
                if number in (0, 100) or number % 500 == 0:
                    print(number, "swaps:", memory(backend) >> 20, "MiB", flush=True)
                client.activate("letters", 1 + number % 2)
        figures = {"seconds": round(time.monotonic() - started, 1), "MiB": memory(backend) >> 20}
        statuses = load.stop()
        seconds = seconds_until_active(backend.url, f"a {1 + (options.swaps - 1) % 2}")
        figures |= {"swaps": options.swaps, "seen_after": round(seconds, 2)}
        print(json.dumps(figures | {"statuses": statuses}))
        assert set(statuses) == {200}


if __name__ == "__main__":
    main()
