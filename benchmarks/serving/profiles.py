"""A sampling profile of Prism under the load of a scenario, by py-spy."""

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.serving.assets import PROFILES, ROOT, ModelName, model_folder
from benchmarks.serving.images import ImageKind, image_files
from benchmarks.serving.load_generator import Job
from benchmarks.serving.machine import available_cores
from benchmarks.serving.measurement import Log, Options, run_load, start_load, wait_for_load
from benchmarks.serving.overload import MAX_CONNECTIONS, Overload
from benchmarks.serving.results import Figure
from benchmarks.serving.scenarios import Scenario
from benchmarks.serving.servers import Server, serve
from benchmarks.serving.systems import PRISM
from benchmarks.serving.throughput import Throughput

_MIN_SECONDS = 5.0  # of sampling
_RATE = 100  # samples per second
_LINES = 15  # functions in a summary


def profile_load(server: Server, job: Job, name: str) -> list[str]:
    """Run `job` and sample `server` meanwhile; return a summary of where it spent its time.

    The folded stacks, for flame graphs, are written to `.bench/profiles`. Two samples are taken:
    of all running threads, and only of threads that hold the interpreter lock.
    """
    tool = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if tool is None:
        return ["py-spy is not installed, so there is no profile"]
    PROFILES.mkdir(parents=True, exist_ok=True)
    lines = []
    for options, title in ((["--gil"], "holding the interpreter lock"), ([], "not idle")):
        stacks = PROFILES / f"{name}{''.join(options)}.txt"
        load = start_load(job)
        time.sleep(job.warmup)
        command = [
            *(tool, "record", "--pid", str(server.pid), "--format", "raw", "--subprocesses"),
            *(*options, "--rate", str(_RATE), "--duration", str(max(1, int(job.seconds)))),
            *("--output", str(stacks)),
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        wait_for_load(load)
        if result.returncode or not stacks.exists():
            reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
            lines.append(f"py-spy failed: {reason}")
            continue
        lines += [f"samples of threads {title}:", *summarize(stacks.read_text().splitlines())]
    return lines


def summarize(stacks: Iterable[str]) -> list[str]:
    """Return the functions with the most samples, by own time and with what they call.

    A line of `stacks` holds the frames, outermost first, separated by `;`, and the number of its
    samples, as py-spy's raw format.
    """
    own, including = Counter[str](), Counter[str]()
    for line in stacks:
        text, _, count = line.rpartition(" ")
        frames = [_shorten(frame) for frame in text.split(";") if frame]
        if not frames:
            continue
        own[frames[-1]] += int(count)
        for frame in set(frames):
            including[frame] += int(count)
    total = max(1, sum(own.values()))
    if not own:
        return ["  no samples"]
    lines = [f"  {'own':>5}  {'total':>5}  function"]
    for frame, samples in own.most_common(_LINES):
        lines.append(f"  {samples / total:5.1%}  {including[frame] / total:5.1%}  {frame}")
    return lines


def _shorten(frame: str) -> str:
    """Return a frame, as `function (path/file.py:12)`, without line and leading folders."""
    name, _, place = frame.partition(" (")
    path = place.rstrip(")").partition(":")[0]
    return f"{name} ({'/'.join(Path(path).parts[-2:])})" if path else name


def profile_missed(
    scenario: Scenario, figures: Iterable[Figure], options: Options, log: Log
) -> list[str]:
    """Return a profile of Prism for each title of which a figure misses its target."""
    lines = []
    for title in dict.fromkeys(one.scenario for one in figures if one.verdict == "no"):
        log(f"{scenario.name}: profiling {title}")
        name = re.sub(r"\W+", "-", title)
        if isinstance(scenario, Throughput):
            row = next(one for one in scenario.rows if one.title == title)
            profile = _profile(scenario.model, row.kind, scenario.clients, None, options, name)
        elif isinstance(scenario, Overload):
            clients, factor = scenario.clients, max(scenario.goodput)
            profile = _profile(scenario.model, scenario.kind, clients, factor, options, name)
        else:
            profile = profile_imports()
        lines += [f"{title}:", *profile]
    return lines


def _profile(
    model: ModelName,
    kind: ImageKind,
    clients: int,
    factor: int | None,
    options: Options,
    name: str,
) -> list[str]:
    """Profile Prism in a closed loop, or with `factor` times the saturated rate of one core."""
    files = image_files(kind)
    cores = () if factor is None else available_cores()[:1]
    with serve(PRISM, model_folder(model), files[0], cores) as server:
        job = options.job(server, files, clients)
        if factor is not None:
            rate = factor * run_load(job).rate
            job = replace(job, rate=rate, clients=MAX_CONNECTIONS, cpus=available_cores()[1:2])
        return profile_load(server, replace(job, seconds=max(job.seconds, _MIN_SECONDS)), name)


def profile_imports() -> list[str]:
    """Return the imports of the backend that take longest, by CPython's own measurement."""
    command = [sys.executable, "-X", "importtime", "-c", "import backend.__main__"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    imports = []
    for line in result.stderr.splitlines():
        own, total, module = ([*line.removeprefix("import time:").split("|"), "", ""])[:3]
        if total.strip().isdecimal():
            imports.append((int(total), int(own), module.strip()))
    slowest = sorted(imports, reverse=True)[:_LINES]
    lines = [
        f"  {total / 1000:6.0f}  {own / 1000:6.0f}  {module}" for total, own, module in slowest
    ]
    return ["imports:", "  total, ms  own, ms  module", *lines]
