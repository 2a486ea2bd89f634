"""The process that runs one target on mutants, with a limit of memory.

Each input is written to a shared file before it is used, so that the parent can save it if this
process dies or hangs. Findings are written as JSON, one a line.
"""

import importlib
import json
import mmap
import os
import resource
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final

from tests.fuzz.mutations import mutate
from tests.fuzz.target import MAX_SECONDS, Target

ROOT: Final = Path(__file__).parents[2]
MIN_INPUTS: Final = 20  # in each run, however late it starts
INPUT, FINDINGS, PRINTED = "input", "findings", "printed"  # files of a process
INPUT_HEADER: Final = struct.Struct("<QdI")  # number, CPU seconds at its start, length
INPUT_FILE_BYTES: Final = 8_000_000
# Above the address space in use at the start: a decoder that wants more gets a MemoryError.
ADDRESS_SPACE: Final = 512_000_000
_MAX_SAMPLE: Final = 1_000_000  # bytes of a file in a folder of samples


def main(
    module: str, name: str, first: int, end: float, folder: Path, sample_folders: Sequence[Path]
) -> None:
    """Run a target of a module, which has TARGETS and `stop`, until `end`.

    `end` is a time of the monotonic clock. `folder` gets the files of this process: the current
    input, the findings with a summary as the last line, and what libraries print.
    """
    warnings.simplefilter("ignore")
    _redirect_output(folder)
    targets = importlib.import_module(module)
    target = targets.TARGETS[name]
    runner = Runner(target, folder / INPUT)
    limit_address_space()
    with (folder / FINDINGS).open("w", buffering=1) as out:
        for finding in runner.run(all_samples(target, sample_folders), first, end):
            out.write(json.dumps(finding) + "\n")
        out.write(json.dumps(runner.summary) + "\n")
    targets.stop()


def run_guided(name: str, end: float, folder: Path, corpus: Path) -> None:
    """Become a process of the coverage-guided fuzzer, which must instrument what it imports."""
    _redirect_output(folder)
    seconds = str(max(int(end - time.monotonic()), 1))
    arguments = ["-m", "tests.fuzz.guided", name, seconds, str(folder), str(corpus)]
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, *arguments])


def _redirect_output(folder: Path) -> None:
    printed = os.open(folder / PRINTED, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(printed, 1)
    os.dup2(printed, 2)


def all_samples(target: Target, folders: Sequence[Path]) -> dict[str, bytes]:
    """Return the samples of the target and the files in the folders."""
    samples = dict(target.samples())
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.stat().st_size <= _MAX_SAMPLE:
                samples[str(path)] = path.read_bytes()
    return samples


class Runner:
    """Runs a target on one input after the other and measures each."""

    def __init__(self, target: Target, input_file: Path) -> None:
        self._target = target
        input_file.touch()
        with input_file.open("r+b") as file:  # the parent has mapped the file
            file.truncate(INPUT_FILE_BYTES)
            self._shared = mmap.mmap(file.fileno(), INPUT_FILE_BYTES)
        self.summary: dict[str, Any] = {
            **{"kind": "summary", "next": 0, "accepted": 0, "max_seconds": 0.0, "max_mb": 0.0},
        }

    def run(
        self, samples: Mapping[str, bytes], first: int, end: float = 0, count: int = MIN_INPUTS
    ) -> Iterator[dict[str, Any]]:
        """Yield the findings: of the samples themselves, then of mutants from number `first`.

        At least `count` mutants follow, and more until `end`, a time of the monotonic clock.
        """
        contents = list(samples.values())
        self.summary["next"] = first
        for _ in range(2):  # the first time, caches and pools grow
            for data in contents:
                yield from self._try(0, data)
        while time.monotonic() < end or self.summary["next"] < first + count:
            number = self.summary["next"]
            random = Random(f"{self._target.name} {number}")
            sample = random.choice(contents)
            data = mutate(sample, random, tokens=self._target.tokens, others=contents)
            yield from self._try(number, data)
            self.summary["next"] = number + 1

    def next(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the findings of one further input."""
        number = self.summary["next"] = self.summary["next"] + 1
        yield from self._try(number, data)

    def _try(self, number: int, data: bytes) -> Iterator[dict[str, Any]]:
        data = data[: INPUT_FILE_BYTES - INPUT_HEADER.size]
        started = time.process_time()
        self._shared[: INPUT_HEADER.size] = INPUT_HEADER.pack(number, started, len(data))
        self._shared[INPUT_HEADER.size : INPUT_HEADER.size + len(data)] = data
        before = _reset_peak_memory()
        error: BaseException | None = None
        try:
            self._target.run(data)
            self.summary["accepted"] += 1
        except self._target.errors as expected:
            if _has_cause(expected, MemoryError):
                error = expected
        except Exception as unexpected:
            error = unexpected
        seconds = time.process_time() - started
        growth = (_peak_memory() - before) / 1e6 if before else 0.0
        self.summary["max_seconds"] = max(self.summary["max_seconds"], seconds)
        self.summary["max_mb"] = max(self.summary["max_mb"], growth)
        if error is not None:
            kind = "memory" if _has_cause(error, MemoryError) else "exception"
            yield self._finding(kind, _place(error), "".join(traceback.format_exception(error)))
            error.__traceback__ = None
        if seconds > MAX_SECONDS and number:
            yield self._finding("slow", "", f"{seconds:.1f} s of CPU time")
        if growth > self._target.memory and number:
            yield self._finding("memory", "", f"the memory grew by {growth:.0f} MB")

    def _finding(self, kind: str, place: str, text: str) -> dict[str, Any]:
        number, _, length = INPUT_HEADER.unpack_from(self._shared)
        data = self._shared[INPUT_HEADER.size : INPUT_HEADER.size + length]
        return {"kind": kind, "place": place, "text": text, "number": number, "data": data.hex()}


def limit_address_space() -> None:
    """Limit this process to ADDRESS_SPACE bytes more than it uses now."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _reset_peak_memory() -> int:
    """Return the resident memory in bytes, from which `_peak_memory` counts; 0: not supported."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return _peak_memory()


def _peak_memory() -> int:
    status = Path("/proc/self/status").read_bytes()
    start = status.index(b"VmHWM:") + 6
    return int(status[start : status.index(b"kB", start)]) * 1024


def _has_cause(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether the error, or one that led to it, is of this kind."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, kind):
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def _place(error: BaseException) -> str:
    """Return the type of the error and the last line of this project that it passed."""
    place, step = "", error.__traceback__
    while isinstance(step, TracebackType):
        path = Path(step.tb_frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and ".venv" not in path.parts:
            place = f"{path.relative_to(ROOT)}:{step.tb_lineno}"
        step = step.tb_next
    return f"{type(error).__name__} at {place}"
