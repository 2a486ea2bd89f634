"""A fuzz campaign: targets in turn, each in a child process, with findings and a resumable state.

The folder of a campaign:

    state.json             per target: the number of the next mutant, and the seconds so far
    corpus/TARGET/         inputs that reached new code (written by the coverage-guided fuzzer)
    findings/TARGET-KIND-HASH.bin and .txt   an input, and what it did
"""

import hashlib
import json
import mmap
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from tests.fuzz import worker

MAX_CPU_SECONDS: Final = 4.0  # for one input, after which its process is killed
MAX_WALL_SECONDS: Final = 30.0
_MIN_SECONDS: Final = 1.0  # left of a turn, for which no further process is started
_MAX_FINDINGS: Final = 20  # saved per target and run; others are counted only
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass
class TargetResult:
    """What happened to one target in one run."""

    inputs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    max_seconds: float = 0.0
    max_mb: float = 0.0
    findings: dict[str, int] = field(default_factory=dict)  # count by kind and place


class Campaign:
    """Runs the targets of a module and keeps the state in `folder`.

    `samples` are folders of further samples.
    """

    def __init__(
        self, folder: Path, samples: Sequence[Path] = (), module: str = "tests.fuzz.targets"
    ) -> None:
        self._folder = folder
        self._samples = samples
        self._module = module
        # A process that has imported the module is forked for each turn.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([module])
        self._state_file = folder / "state.json"
        (folder / "findings").mkdir(parents=True, exist_ok=True)
        self.results: dict[str, TargetResult] = {}

    def state(self) -> dict[str, dict[str, float]]:
        """Return the number of the next mutant and the seconds so far, by target."""
        try:
            state: dict[str, dict[str, float]] = json.loads(self._state_file.read_text())
        except (OSError, ValueError):
            return {}
        return state

    def next_target(self, names: Sequence[str]) -> str:
        """Return the target that has had the least time in all runs."""
        state = self.state()
        return min(names, key=lambda name: state.get(name, {}).get("seconds", 0.0))

    def run(self, name: str, seconds: float, *, guided: bool = False) -> TargetResult:
        """Fuzz one target for `seconds`; after a crash or a hang, continue with the next input.

        If `guided`, inputs are made from those in the corpus and chosen by the code they reach.
        """
        result = self.results.setdefault(name, TargetResult())
        end = time.monotonic() + seconds
        while True:
            started = time.monotonic()
            first = int(self.state().get(name, {}).get("next", 1))
            inputs = self._run_process(name, first, end, guided, result)
            elapsed = time.monotonic() - started
            result.inputs += inputs
            result.seconds += elapsed
            self._save_state(name, first if guided else first + inputs, elapsed)
            if time.monotonic() > end - _MIN_SECONDS:
                return result

    def _run_process(
        self, name: str, first: int, end: float, guided: bool, result: TargetResult
    ) -> int:
        """Run one process until `end`, a crash or a hang; return the number of its inputs."""
        corpus = self._folder / "corpus" / name
        corpus.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="prism-fuzz-") as temporary:
            folder = Path(temporary)
            (folder / worker.INPUT).write_bytes(bytes(worker.INPUT_FILE_BYTES))
            with (folder / worker.INPUT).open("rb") as file:
                shared = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            if guided:
                process = self._context.Process(
                    target=worker.run_guided, args=(name, end, folder, corpus)
                )
            else:
                process = self._context.Process(
                    target=worker.main,
                    args=(self._module, name, first, end, folder, [*self._samples, corpus]),
                )
            process.start()
            try:
                is_slow = _wait(process, shared)
            finally:
                process.kill()
                process.join()
            records = _read_records(folder)
            for record in records:
                if record["kind"] != "summary":
                    self._save(name, record, result)
            for summary in [record for record in records if record["kind"] == "summary"][-1:]:
                result.accepted += summary["accepted"]
                result.max_seconds = max(result.max_seconds, summary["max_seconds"])
                result.max_mb = max(result.max_mb, summary["max_mb"])
            number, _, length = worker.INPUT_HEADER.unpack_from(shared)
            if is_slow or process.exitcode:
                data = shared[worker.INPUT_HEADER.size :][:length]
                text = (folder / worker.PRINTED).read_text(errors="replace")[-2000:]
                kind = "slow" if is_slow else "crash"
                place = "" if is_slow else f"exit status {process.exitcode}"
                found = {"kind": kind, "place": place, "number": number, "data": data.hex()}
                self._save(name, {**found, "text": f"{place}\n{text}"}, result)
            return int(number) if guided else max(int(number) + 1 - first, 1)

    def _save(self, name: str, finding: dict[str, Any], result: TargetResult) -> None:
        key = f"{finding['kind']} {finding['place']}".strip()
        result.findings[key] = result.findings.get(key, 0) + 1
        if result.findings[key] > 1 or len(result.findings) > _MAX_FINDINGS:
            return
        data = bytes.fromhex(finding["data"])
        stem = f"{name}-{finding['kind']}-{hashlib.sha256(data).hexdigest()[:12]}"
        path = self._folder / "findings" / f"{stem}.bin"
        path.write_bytes(data)
        command = f"python -m tests.fuzz --reproduce {name} {path}"
        path.with_suffix(".txt").write_text(f"{command}\n\n{key}\n\n{finding['text']}\n")

    def _save_state(self, name: str, following: int, seconds: float) -> None:
        state = self.state()
        before = state.get(name, {}).get("seconds", 0.0)
        state[name] = {"next": following, "seconds": round(before + seconds, 3)}
        draft = self._state_file.with_suffix(".tmp")
        draft.write_text(json.dumps(state, indent=1))
        draft.replace(self._state_file)


def _read_records(folder: Path) -> list[dict[str, Any]]:
    """Return the findings of a process, and the summaries of its inputs so far."""
    path = folder / worker.FINDINGS
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _wait(process: BaseProcess, shared: mmap.mmap) -> bool:
    """Wait for the end of the process; return whether it takes too long for one input."""
    previous, since = (-1, -1.0), time.monotonic()
    while process.is_alive():
        process.join(0.05)
        number, started, length = worker.INPUT_HEADER.unpack_from(shared)
        if (number, started) != previous:
            previous, since = (number, started), time.monotonic()
        if length and _cpu_seconds(process.pid) - started > MAX_CPU_SECONDS:
            return True
        if length and time.monotonic() - since > MAX_WALL_SECONDS:
            return True
    return False


def _cpu_seconds(pid: int | None) -> float:
    """Return the CPU time of a process so far; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS
