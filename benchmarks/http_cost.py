"""Measure the CPU time of HTTP per request: the server process without decoding and inference.

    .venv/bin/python -m benchmarks.http_cost [--rounds 5] [--seconds 1]

The table has microseconds of user and system time of the server per request, the least and the
median of all rounds, for 16 clients on persistent connections. `prism` responds with a stored
result, and refuses every upload with 429 in the row `rejected`. `uvicorn` reads the body and sends
a constant response, and `noop` parses the form and does nothing else. The application's share of
a rejection is the rejected digit minus uvicorn alone; the rejected upload costs the reception of
its body in addition.
"""

import argparse
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
import uvicorn
from PIL import Image
from starlette.types import Receive, Scope, Send

from benchmarks.serving.load_generator import Job, Outcome, run

_CLIENTS: Final = 16
_WARMUP: Final = 0.3  # seconds
_CONNECT_SECONDS: Final = 60.0
_UPLOAD_BYTES: Final = 87_000  # of a photograph of 500x375


@dataclass(frozen=True)
class Row:
    """One row of the table: a server and what it is sent."""

    title: str
    server: str
    image: str
    path: str = "/classify"


ROWS: Final = (
    Row("uvicorn alone, digit of 28x28", "uvicorn", "digit.png"),
    Row("noop, digit of 28x28", "noop", "digit.png", "/predict"),
    Row("prism, digit of 28x28", "accepting", "digit.png"),
    Row("prism, digit of 28x28, rejected", "rejecting", "digit.png"),
    Row("uvicorn alone, upload of 87 kB", "uvicorn", "photo.jpg"),
    Row("prism, upload of 87 kB, rejected", "rejecting", "photo.jpg"),
)


def serve(name: str, listener: socket.socket, folder: str) -> None:
    """Run one of the servers of ROWS until it is terminated; the entry point of its process."""
    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if name in ("accepting", "rejecting"):
        _serve_prism(listener, folder, is_accepting=name == "accepting")
        return
    app: Any = _respond if name == "uvicorn" else "benchmarks.serving.peers.noop:app"
    config = uvicorn.Config(app, access_log=False, log_level="warning", lifespan="off")
    uvicorn.Server(config).run([listener])


def _serve_prism(listener: socket.socket, folder: str, *, is_accepting: bool) -> None:
    from backend.app import create_app
    from backend.inference import auto
    from backend.inference.admission import WorkRejectedError
    from backend.inference.classifier import Classifier
    from backend.inference.types import ClassificationResult, Timings
    from backend.server import entrypoint
    from backend.settings import Settings
    from backend.telemetry import logs

    probabilities = np.full(10, 0.01, np.float32)
    probabilities[7] = 0.91
    ranking = np.argsort(-probabilities)

    async def classify(models: Any, *_: object) -> tuple[Classifier, ClassificationResult]:
        model = models[-1].classifier
        labels, timings = model.manifest.labels, Timings(0.1, 0.1, 0.1)
        return model, ClassificationResult(
            labels, probabilities, ranking, timings, -3.0, True, model._label._set_size
        )

    def reject(*_: object) -> None:
        raise WorkRejectedError("queue_full", 1.0)

    if is_accepting:
        auto.classify = classify  # type: ignore[assignment]
    else:
        Classifier.require_capacity = reject  # type: ignore[assignment, method-assign]
    settings = Settings(models="mnist-cnn", measure=False, history=False, data_dir=Path(folder))
    logs.configure("json", "info")
    entrypoint.serve(settings, create_app(settings), listener)


async def _respond(scope: Scope, receive: Receive, send: Send) -> None:
    has_more = True
    while has_more:
        has_more = (await receive()).get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"600")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"x" * 600})


class RunningServer:
    """A server in a process of its own."""

    def __init__(self, name: str, folder: str) -> None:
        context = multiprocessing.get_context("spawn")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: Final[int] = listener.getsockname()[1]
            self._process = context.Process(target=serve, args=(name, listener, folder))
            self._process.start()

    def wait(self, row: Row, folder: str) -> None:
        """Wait until the server responds with the status that is measured."""
        expected = "429" if row.server == "rejecting" else "200"
        end = time.monotonic() + _CONNECT_SECONDS
        while expected not in self._run(row, folder, clients=1, seconds=0.1).statuses:
            if time.monotonic() > end or not self._process.is_alive():
                raise SystemExit(f"error: the server for '{row.title}' does not respond")
            time.sleep(0.1)

    def measure(self, row: Row, folder: str, seconds: float) -> float:
        """Return the microseconds of CPU time per request."""
        before = self._cpu_seconds()
        outcome = self._run(row, folder, _CLIENTS, seconds)
        spent = self._cpu_seconds() - before
        count = sum(outcome.statuses.values()) * (seconds + _WARMUP) / seconds
        return spent / count * 1e6

    def stop(self) -> None:
        """Terminate the process."""
        self._process.terminate()
        self._process.join()

    def _run(self, row: Row, folder: str, clients: int, seconds: float) -> Outcome:
        image = str(Path(folder) / row.image)
        return run(Job(self.port, row.path, (image,), clients, warmup=_WARMUP, seconds=seconds))

    def _cpu_seconds(self) -> float:
        """Return the time that all threads of the process have run, as Linux counts it."""
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; default: 5")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        _write_images(Path(folder))
        servers = {name: RunningServer(name, folder) for name in {row.server for row in ROWS}}
        try:
            for row in ROWS:
                servers[row.server].wait(row, folder)
            costs: dict[str, list[float]] = {row.title: [] for row in ROWS}
            for _ in range(options.rounds):
                for row in ROWS:
                    cost = servers[row.server].measure(row, folder, options.seconds)
                    costs[row.title].append(cost)
        finally:
            for server in servers.values():
                server.stop()
    print("| request | least, µs | median, µs |\n| --- | ---: | ---: |")
    for title, values in costs.items():
        print(f"| {title} | {min(values):.0f} | {statistics.median(values):.0f} |")


def _write_images(folder: Path) -> None:
    """Write a digit, and a file as large as a photograph, which is never decoded."""
    Image.fromarray(np.tile(np.arange(28, dtype=np.uint8) * 9, (28, 1))).save(folder / "digit.png")
    (folder / "photo.jpg").write_bytes(Random(0).randbytes(_UPLOAD_BYTES))


if __name__ == "__main__":
    main()
