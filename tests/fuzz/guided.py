"""The coverage-guided fuzzer: libFuzzer, by atheris, where it is installed.

python -m tests.fuzz.guided TARGET SECONDS FOLDER CORPUS

It keeps inputs that reach new lines of the parsers in CORPUS, which is also the state that a later
run continues from. The files in FOLDER are those of `worker.main`.
"""

import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import atheris

from tests.fuzz.worker import FINDINGS, INPUT, Runner, limit_address_space

_INSTRUMENTED: Final = ["backend", "evaluation", "frontend", "python_multipart", "PIL"]
_SUMMARY_EVERY: Final = 200  # inputs
_MAX_BYTES: Final = 20_000  # of an input


def main(arguments: Sequence[str]) -> None:
    """Fuzz one target; libFuzzer ends the process when the time is over."""
    name, seconds, folder, corpus = arguments
    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=_INSTRUMENTED):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    runner = Runner(target, Path(folder) / INPUT)
    samples = Path(corpus)
    for label, data in target.samples().items():
        (samples / f"sample-{label}").write_bytes(data)
    out = (Path(folder) / FINDINGS).open("w", buffering=1)

    def run(data: bytes) -> None:
        for finding in runner.next(data):
            out.write(json.dumps(finding) + "\n")
        if runner.summary["next"] % _SUMMARY_EVERY == 0:  # libFuzzer ends the process without one
            out.write(json.dumps(runner.summary) + "\n")

    limit_address_space()
    options = [f"-max_total_time={seconds}", f"-max_len={_MAX_BYTES}", "-timeout=600"]
    options += ["-rss_limit_mb=0", "-print_final_stats=0", f"-artifact_prefix={folder}{os.sep}"]
    atheris.Setup([sys.argv[0], *options, corpus], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
