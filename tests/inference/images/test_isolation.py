"""Decoding in separate processes: limits on memory and time, crashes, and what they return."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.inference.errors import BrokenImageError, ImageTooLargeError, QueueFullError
from backend.inference.images import isolation, loading, opening
from tests.images import encoded, noise
from tests.inference.images.bombs import DATA
from tests.inference.images.heif_files import heif_overlay

AVIF = encoded(noise(), "AVIF")
TIFF = encoded(noise(40, 30), "TIFF")


@pytest.fixture(autouse=True)
def _no_idle_processes() -> Iterator[None]:
    isolation.close()
    yield
    isolation.close()


def decode(data: bytes = TIFF) -> Image.Image:
    return loading.decode(data)


def idle_processes() -> list[subprocess.Popen[bytes]]:
    return list(isolation._processes._idle)


def use_program(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let a Python program decode files."""
    command = [sys.executable, "-c", program]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(isolation, "_start", start)


def respond(facts: dict[str, Any], content: str = "b''", *, then: str = "") -> str:
    """Return a program that answers every request with the same."""
    line = json.dumps(facts)
    return f"""
import json, sys, time
while line := sys.stdin.buffer.readline():
    request = json.loads(line)
    sys.stdin.buffer.read(request["size"])
    sys.stdout.buffer.write({line!r}.encode() + b"\\n")
    if request["halvings"] is not None:
        sys.stdout.buffer.write({content})
    sys.stdout.flush()
    {then}
"""


FACTS = {"image_size": [40, 30], "mode": "L", "tile_pixels": 0, "cicp": None, "blobs": [0, 0]}


@pytest.mark.parametrize("form", sorted(isolation.FORMATS - {"HEIF"}))
def test_isolated_formats_are_decoded_in_another_process(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "parse_file", None)
    assert decode(encoded(noise(40, 30), form)).size == (40, 30)


def reduced(data: bytes, min_side: int) -> Image.Image:
    opened = opening.open_image(data, max_pixels=10_000_000, min_side=min_side)
    return loading.load_rgb(opened, min_side=min_side)


@pytest.mark.parametrize("form", ["AVIF", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(1000, 401), (3, 1501), (5000, 100)])
def test_process_sends_a_reduced_image(form: str, mode: str, size: tuple[int, int]) -> None:
    data = encoded(noise(*size).convert(mode), form)
    min_side = max(min(size) // 5, 1)
    factor = 4 if min(size) > 3 else 2
    expected = np.asarray(decode(data).reduce(factor), dtype=int)
    image = reduced(data, min_side)
    assert image.height >= min_side
    assert np.abs(np.asarray(image, dtype=int) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "I;16", "1"])
def test_image_of_another_mode_is_not_reduced(mode: str) -> None:
    image = noise(400, 300).convert("L").convert(mode)
    assert reduced(encoded(image, "TIFF"), 50).size == (400, 300)


def test_process_is_used_again() -> None:
    decode()
    first = idle_processes()
    decode(AVIF)
    assert idle_processes() == first
    assert len(first) == 1


def test_another_process_is_started_after_one_has_ended() -> None:
    ended = subprocess.Popen(
        [sys.executable, "-c", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    ended.wait()
    isolation._processes._idle.append(ended)
    assert decode().size == (40, 30)


def test_process_that_ends_just_before_a_request_is_replaced() -> None:
    ended = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.readline()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    isolation._processes._idle.append(ended)
    assert decode().size == (40, 30)


def test_killed_process_fails_one_file_only() -> None:
    decode()
    (process,) = idle_processes()
    process.kill()
    process.wait()
    with pytest.raises(BrokenImageError):
        decode()
    assert decode().size == (40, 30)


def test_file_that_computes_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "_WALL_SECONDS", 60)
    with pytest.raises(ImageTooLargeError, match="too long"):
        decode(heif_overlay(60))
    assert decode().size == (40, 30)


def test_frame_larger_than_its_header_is_not_allocated() -> None:
    with pytest.raises(BrokenImageError):
        decode((DATA / "large_frame.avif").read_bytes())


def test_process_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "_WALL_SECONDS", 0.2)
    use_program(monkeypatch, "import time; time.sleep(600)")
    with pytest.raises(ImageTooLargeError, match="too long"):
        decode()
    assert idle_processes() == []


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
def test_stopped_process_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    decode()
    (process,) = idle_processes()
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr(isolation, "_WALL_SECONDS", 0.2)
    with pytest.raises(ImageTooLargeError, match="too long"):
        decode()


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("os.abort()", BrokenImageError),
        ("sys.exit(1)", BrokenImageError),
        (f"sys.exit({isolation.MEMORY_STATUS})", ImageTooLargeError),
    ],
)
def test_process_that_crashes_is_reported_as_an_error_of_the_image(
    end: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_program(monkeypatch, f"import os, sys; sys.stdin.buffer.readline(); {end}")
    with pytest.raises(error):
        decode()
    assert idle_processes() == []


@pytest.mark.parametrize(
    "program",
    [
        "print('no JSON', flush=True); input()",
        "print('{}', flush=True); input()",
        "print('x' * 1_000_000, flush=True); input()",
        respond(FACTS | {"image_size": [0, 30]}),
        respond(FACTS | {"image_size": ["a", 30]}),
        respond(FACTS | {"mode": "P"}),
        respond(FACTS | {"blobs": [100, 0]}, then="sys.exit()"),
        respond(FACTS, "bytes(1000)", then="sys.exit()"),
        respond(FACTS | {"cicp": "x"}),
        respond({"error": "SystemExit", "detail": "x"}),
    ],
)
def test_responses_of_a_process_are_not_trusted(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_program(monkeypatch, program)
    with pytest.raises(BrokenImageError):
        decode()


def test_process_cannot_return_a_larger_image_than_it_announced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_program(monkeypatch, respond(FACTS, "bytes(40 * 30)"))
    image = opening.open_image(TIFF, max_pixels=10_000)
    use_program(monkeypatch, respond(FACTS | {"image_size": [4000, 3000]}, "bytes(12_000_000)"))
    isolation.close()
    with pytest.raises(BrokenImageError):
        image.load()


def test_number_of_processes_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0
    lock, start = threading.Lock(), isolation._send

    def send(*arguments: Any) -> bytes:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        try:
            return start(*arguments)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(isolation, "_send", send)
    threads = [threading.Thread(target=decode) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == isolation.MAX_PROCESSES
    assert len(idle_processes()) <= isolation.MAX_PROCESSES


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_process_has_none_of_the_secrets_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISM_API_KEYS", "secret")
    decode()
    (process,) = idle_processes()
    assert b"secret" not in Path(f"/proc/{process.pid}/environ").read_bytes()


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "LAB", "I;16", "F"]
)
def test_every_mode_of_a_tiff_survives(mode: str) -> None:
    if mode == "LAB":
        image = Image.frombytes("LAB", (700, 500), noise(700, 500).tobytes())
    elif mode == "I;16":
        image = Image.frombytes("I;16", (700, 500), noise(700, 500).tobytes()[:700_000])
    elif mode == "PA":
        image = noise(700, 500).convert("P").convert("PA")
    else:
        image = noise(700, 500).convert(mode)
    data = encoded(image, "TIFF")
    here, there = opening.parse_file(data, "TIFF"), opening.open_file(data, "TIFF")
    assert loading.load_rgb(here).tobytes() == loading.load_rgb(there).tobytes()


def test_process_that_cannot_be_started_is_no_fault_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    isolation.close()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(QueueFullError, match="Try again"):
        decode()
