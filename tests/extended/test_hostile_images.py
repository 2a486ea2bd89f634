"""Corpora, mutants and bombs against a backend that is limited to 512 MB.

PRISM_FUZZ_FACTOR multiplies the mutants; 100 makes 30,000. The figures are printed (pytest -s).
"""

import http.client
import os
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from tests.conftest import FUZZ_FACTOR, ROOT, free_port, wait_until_ready
from tests.fuzz.mutations import mutants
from tests.fuzz.samples import IMAGE_TOKENS, image_samples
from tests.images import encoded, noise
from tests.inference.images.bombs import BOMBS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

LIMIT = 512_000_000
MAX_MEMORY = 450_000_000
MAX_SECONDS = 2.0
MAX_HEALTH_SECONDS = 0.25
MUTANTS = 300 * FUZZ_FACTOR
ROUTES = (
    "/classify?store=true",
    "/classify?model=photos",
    "/classify?model=mnist-cnn",
    "/classify?model=auto&explain=true",
    "/classify?model=mnist-cnn&model_input=true",
    "/classify?model=photos&explain=true&model_input=true",
    "/classify/batch",
)
FOLDERS = ("bad", "formats", "exif", "digits")  # of the folder with real data


@dataclass
class Backend:
    """A backend whose memory and /health are observed while the block runs."""

    port: int
    process: subprocess.Popen[bytes]
    memory: int = 0  # the most bytes that all processes held
    health: list[float] = field(default_factory=list)  # seconds of each GET /health
    is_closed: bool = False

    def post(self, target: str, data: bytes) -> tuple[int, float]:
        """Post an image; return the status and the seconds that it took."""
        headers = {"Content-Type": "application/octet-stream"}
        if target.startswith("/classify/batch"):
            headers = {"Content-Type": "multipart/form-data; boundary=xxyyzz"}
            part = b'--xxyyzz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            data = part + data + b"\r\n" + part + data + b"\r\n--xxyyzz--\r\n"
        started = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", target, data, headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        assert b"Traceback" not in body
        assert str(ROOT).encode() not in body
        return response.status, time.perf_counter() - started

    def observe_memory(self) -> None:
        """Record the memory of all processes until the backend is closed."""
        while not self.is_closed:
            self.memory = max(self.memory, self.used_memory())
            time.sleep(0.01)

    def observe_health(self) -> None:
        """Record how long /health takes until the backend is closed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.is_closed:
            started = time.perf_counter()
            with suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/health")
                assert connection.getresponse().read() == b'{"status":"ok"}'
                self.health.append(time.perf_counter() - started)
            time.sleep(0.02)
        connection.close()

    def used_memory(self) -> int:
        """Return the bytes that the backend and its processes hold; shared pages count once."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pids = [self.process.pid]
        with suppress(OSError):
            for thread in children.parents[1].iterdir():
                pids += map(int, (thread / "children").read_text().split())
        return sum(_proportional_memory(pid) for pid in set(pids))

    def restart_observation(self) -> None:
        self.memory, self.health = 0, []


def _proportional_memory(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    port = free_port()
    environment = os.environ | {
        "PORT": str(port),
        "MEMORY_LIMIT": str(LIMIT),
        "PRISM_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "PRISM_HISTORY_IMAGES": "true",
        "PRISM_MEASURE": "false",
        "MALLOC_ARENA_MAX": "2",  # as in the image
    }
    command = [sys.executable, "-m", "tests.extended.limited_backend"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        found = Backend(port, process)
        for target in ROUTES:
            found.post(target, encoded(noise(400, 300), "JPEG"))
        threads = [
            threading.Thread(target=each) for each in (found.observe_memory, found.observe_health)
        ]
        for thread in threads:
            thread.start()
        yield found
        found.is_closed = True
        for thread in threads:
            thread.join()
    finally:
        process.kill()
        process.wait()


def report(name: str, backend: Backend, statuses: Counter[int], slowest: float) -> None:
    """Print the figures of a run."""
    health = statistics.quantiles(backend.health, n=100)[98] if len(backend.health) > 1 else 0.0
    print(
        f"{name}: {dict(statuses)}, slowest {slowest:.2f} s, /health p99 {health * 1000:.0f} ms, "
        f"memory {backend.memory / 1e6:.0f} MB",
        flush=True,
    )


def p99(seconds: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(seconds, n=100)[98]


def corpus() -> list[bytes]:
    """Return the samples, the bombs, and the files of real data, if there are any."""
    folder = Path(os.environ.get("PRISM_TEST_DATA", ROOT.parent / "shared" / "data"))
    paths = [path for name in FOLDERS for path in sorted((folder / name).rglob("*"))]
    files = [path.read_bytes() for path in paths if path.is_file()]
    return [*image_samples().values(), *files]


def test_corpora_and_mutants_are_answered(backend: Backend) -> None:
    samples = corpus()
    small = [each for each in samples if len(each) < 200_000]
    statuses: Counter[int] = Counter()
    slowest, growth, slow = 0.0, [], []
    files = [*samples, *mutants(small, Random(FUZZ_FACTOR), MUTANTS, tokens=IMAGE_TOKENS)]
    for number, (data, target) in enumerate(zip(files, cycle(ROUTES), strict=False)):
        status, seconds = backend.post(target, data)
        statuses[status] += 1
        slowest = max(slowest, seconds)
        assert status < 500, (target, data[:100])
        if seconds > MAX_SECONDS:
            slow.append((round(seconds, 1), target, len(data), data[:40]))
        if number % 1000 == 500:
            growth.append(backend.used_memory())
            report(f"{number} files", backend, statuses, slowest)
    report(f"{len(files)} corpora and mutants", backend, statuses, slowest)
    print("memory every 1000 files, MB:", [used // 1_000_000 for used in growth])
    assert slow == []
    assert backend.process.poll() is None
    assert backend.memory <= MAX_MEMORY
    assert p99(backend.health) <= MAX_HEALTH_SECONDS


@pytest.mark.parametrize("name", BOMBS)
def test_one_bomb_does_not_stop_the_service(name: str, backend: Backend) -> None:
    data = BOMBS[name]()
    statuses: Counter[int] = Counter()
    slowest = 0.0
    backend.restart_observation()
    for target in ROUTES:
        status, seconds = backend.post(target, data)
        statuses[status] += 1
        slowest = max(slowest, seconds)
        assert status < 500
    time.sleep(0.1)  # for a last observation
    report(name, backend, statuses, slowest)
    assert backend.process.poll() is None
    assert backend.memory <= MAX_MEMORY
    assert p99(backend.health) <= MAX_HEALTH_SECONDS


def test_concurrent_large_images_stay_within_the_memory(backend: Backend, test_data: Path) -> None:
    photo = noise(4000, 3000)
    files = [
        encoded(photo.convert("CMYK"), "JPEG", progressive=True, subsampling=0),
        encoded(photo, "JPEG", progressive=True),
        encoded(noise(7000, 7000).convert("L"), compress_level=1),
        encoded(noise(4900, 4900), compress_level=1),
        encoded(photo, "WEBP", method=0),
        encoded(photo, "AVIF", speed=10),
        encoded(noise(2000, 2000), "JPEG2000"),
        encoded(Image.new("RGB", (4000, 4000)), "TIFF", compression="tiff_lzw"),
        (test_data / "formats" / "photo.heic").read_bytes(),
        BOMBS["PNG: 24 megapixels of zeros"](),
    ]
    statuses: Counter[int] = Counter()
    backend.restart_observation()

    def send(start: int) -> None:
        for number in range(2 * len(files)):
            target = ROUTES[number % len(ROUTES)]
            with suppress(OSError):
                statuses[backend.post(target, files[(start + number) % len(files)])[0]] += 1

    threads = [threading.Thread(target=send, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report("16 clients with large images", backend, statuses, 0.0)
    assert backend.process.poll() is None
    assert set(statuses) <= {200, 413, 429, 503, 504}
    assert backend.memory <= MAX_MEMORY
