"""Measure binary tensors over the Open Inference Protocol against the network alone.

    .venv/bin/python -m benchmarks.open_inference [--rows 256] [--clients 2] [--rounds 7]

Clients on persistent connections send batches of digits to `mnist-cnn`, in fp32 as the network
alone. The raw limit is the fastest of three arrangements in ONNX Runtime: one session that uses all
cores, one thread per core with whole batches, and one thread per core with batches of 32. They and
the service take turns, so that the load of the machine affects all of them. The CPU time of the
service per batch, without the clients, is compared with that of one thread.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.assets import BUNDLED_MODELS
from benchmarks.serving.images import image_files
from benchmarks.serving.machine import available_cores, session_cpu
from benchmarks.serving.raw_limit import load_model
from benchmarks.serving.servers import Server, serve
from benchmarks.serving.systems import PRISM, variant

MODEL: Final = "mnist-cnn"
_PART: Final = 32  # rows of the smaller batches
_SYSTEM: Final = variant(PRISM, "prism-open-inference", PRISM_PRECISION="fp32")

Floats = NDArray[np.float32]
Request = tuple[bytes, dict[str, str]]  # body and headers
Work = Callable[[int], object]  # of one batch, by the number of the worker


def make_request(rows: Floats) -> Request:
    """Return the body and the headers of a request for the probabilities of `rows`."""
    tensor = {
        "name": "input",
        "datatype": "FP32",
        "shape": rows.shape,
        "parameters": {"binary_data_size": rows.nbytes},
    }
    output = {"name": "probabilities", "parameters": {"binary_data": True}}
    header = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    return header + rows.tobytes(), {"Inference-Header-Content-Length": str(len(header))}


def send(connection: HTTPConnection, request: Request) -> bytes:
    """Return the body of the response; raise RuntimeError for another status than 200."""
    body, headers = request
    connection.request("POST", f"/v2/models/{MODEL}/infer", body, headers)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise RuntimeError(f"status {response.status}: {content[:200]!r}")
    return content


def measure(work: Work, workers: int, seconds: float) -> float:
    """Return the batches per second of several threads that repeat `work`."""
    begin = time.perf_counter()

    def repeat(number: int) -> int:
        for count in itertools.count(1):
            work(number)
            if time.perf_counter() - begin >= seconds:
                return count
        raise AssertionError("count does not end")

    with ThreadPoolExecutor(workers) as pool:
        total = sum(pool.map(repeat, range(workers)))
    return total / (time.perf_counter() - begin)


def raw_works(model: Path, rows: Floats, cores: int) -> dict[str, tuple[Work, int]]:
    """Return the arrangements of the network alone, each with its number of threads."""
    wide, narrow = load_model(model, cores), load_model(model, 1)
    starts = range(0, len(rows), _PART)
    return {
        "one session on all cores": (lambda _: wide(rows), 1),
        "a thread per core": (lambda _: narrow(rows), cores),
        f"a thread per core, batches of {_PART}": (
            lambda _: [narrow(rows[start : start + _PART]) for start in starts],
            cores,
        ),
    }


def compare(
    server: Server, model: Path, rows: Floats, clients: int, rounds: int, seconds: float
) -> list[str]:
    """Return the lines of the report."""
    request = make_request(rows)
    works = raw_works(model, rows, len(available_cores()))
    cpu, batches, raw_cpu = 0.0, 0.0, []
    rates: dict[str, list[float]] = {name: [] for name in ("prism", *works)}
    with ExitStack() as stack:
        connections = [
            stack.enter_context(closing(HTTPConnection("127.0.0.1", server.port, timeout=60)))
            for _ in range(clients)
        ]

        def send_batch(number: int) -> bytes:
            return send(connections[number], request)

        for number in (1, clients):  # the service learns from the first what a batch takes
            measure(send_batch, number, seconds)
        for _ in range(rounds):
            before, started = session_cpu(server.pid), time.perf_counter()
            rates["prism"].append(measure(send_batch, clients, seconds))
            batches += rates["prism"][-1] * (time.perf_counter() - started)
            cpu += session_cpu(server.pid) - before
            for name, (work, workers) in works.items():
                rates[name].append(measure(work, workers, seconds))
            begin, (work, _) = time.process_time(), works["a thread per core"]
            work(0)
            raw_cpu.append(time.process_time() - begin)
    raw = {name: statistics.median(values) for name, values in rates.items() if name != "prism"}
    best = max(raw, key=lambda name: raw[name])
    ratios = [own / other for own, other in zip(rates["prism"], rates[best], strict=True)]
    return [
        *(
            f"{name}: {statistics.median(values) * len(rows):,.0f} rows/s"
            for name, values in rates.items()
        ),
        f"ratio to '{best}', median of {rounds} rounds: {statistics.median(ratios):.2f}",
        f"CPU ms per batch: prism {1e3 * cpu / batches:.1f}, "
        f"network alone {1e3 * statistics.median(raw_cpu):.1f}, "
        f"ratio {statistics.median(raw_cpu) * batches / cpu:.2f}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.open_inference")
    parser.add_argument("--rows", type=int, default=256, help="digits in a batch")
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    options = parser.parse_args(arguments)
    model = BUNDLED_MODELS / MODEL
    rows = np.random.default_rng(0).normal(size=(options.rows, 1, 28, 28)).astype(np.float32)
    with serve(_SYSTEM, model, image_files("tiny")[0]) as server:
        lines = compare(server, model, rows, options.clients, options.rounds, options.seconds)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
