"""What the command line can be asked for."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from tqdm import tqdm

from evaluation import report, summary
from evaluation.compare import Measured, compare
from evaluation.evaluate import check_labels, evaluate
from evaluation.folders import new_folder
from evaluation.predictors.addresses import Wiring, open_model
from evaluation.results import Evaluation
from evaluation.sources import open_source, spread
from evaluation.sources.base import Source
from evaluation.text import printable
from evaluation.thumbnails import thumbnail
from evaluation.types import Predictor, Sample

INTERRUPTED: Final = 130  # what shells give to a command that Ctrl-C has ended


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure on, and where the report goes (None: a new folder here)."""

    source: Path
    split: str
    limit: int | None
    outliers: Path | None
    out: Path | None
    models_dir: Path
    coverage: float


@dataclass(frozen=True, slots=True)
class _Data:
    """The pictures of a plan."""

    source: Source
    indices: Sequence[int]
    outliers: Source | None
    outlier_indices: Sequence[int]


def measure_model(plan: Plan, address: str) -> int:
    """Measure one model and write its report."""
    with ExitStack() as stack:
        data = _open(plan, stack)
        stop = threading.Event()
        model = stack.enter_context(open_model(address, _wiring(plan, stop)))
        check_labels(data.source.labels, model.labels, data.source.above)
        folder = stack.enter_context(new_folder(plan.out, model.name))
        found = _measure(data, model, stop)
        _tell(found, report.write(found, folder))
        return _code(found, stop)


def compare_models(plan: Plan, a: str, b: str) -> int:
    """Measure two models on the same pictures; write both reports and the comparison."""
    with ExitStack() as stack:
        data = _open(plan, stack)
        stop = threading.Event()
        models = [stack.enter_context(open_model(one, _wiring(plan, stop))) for one in (a, b)]
        for model in models:
            check_labels(data.source.labels, model.labels, data.source.above)
        names = [model.name for model in models]
        if names[0] == names[1]:
            names = [a, b]
        folder = stack.enter_context(new_folder(plan.out, "-".join(names)))
        sides: list[Measured] = []
        for name, model, side in zip(names, models, "ab", strict=True):
            found = _measure(data, model, stop)
            _tell(found, report.write(found, folder / side))
            if code := _code(found, stop):
                return code
            sides.append(Measured(name, model.labels, found.records))
        compared = compare(sides[0], sides[1], _thumbnails(data.source))
        print(summary.of_comparison(compared))
        _print_paths(report.write_comparison(compared, folder))
        return 0


def compare_reports(a: str, b: str, out: Path | None) -> int:
    """Compare two finished reports, given as their folders."""
    compared = compare(report.read(Path(a)), report.read(Path(b)))
    with new_folder(out, f"{compared.a}-{compared.b}") as folder:
        print(summary.of_comparison(compared))
        _print_paths(report.write_comparison(compared, folder))
    return 0


def _open(plan: Plan, stack: ExitStack) -> _Data:
    source = stack.enter_context(open_source(plan.source, split=plan.split))
    outliers = None
    if plan.outliers is not None:
        outliers = stack.enter_context(open_source(plan.outliers, labelled=False))
    count = len(outliers) if outliers else 0
    return _Data(source, spread(len(source), plan.limit), outliers, spread(count, plan.limit))


def _wiring(plan: Plan, stop: threading.Event) -> Wiring:
    return Wiring(plan.models_dir, plan.coverage, stop)


def _measure(data: _Data, model: Predictor, stop: threading.Event) -> Evaluation:
    total = len(data.indices) + len(data.outlier_indices)
    notes = list(data.source.notes)
    if len(data.indices) < len(data.source):
        notes.append(f"{len(data.indices):,} of {len(data.source):,} pictures, evenly spread")
    with (
        _stoppable(stop),
        tqdm(total=total, desc=printable(model.name), unit=" pictures", disable=None) as bar,
    ):
        return evaluate(
            data.source.samples(data.indices),
            model,
            source=data.source.name,
            total=len(data.indices),
            notes=notes,
            outliers=data.outliers.samples(data.outlier_indices) if data.outliers else None,
            outlier_source=data.outliers.name if data.outliers else "",
            progress=partial(_advance, bar),
            cancelled=stop.is_set,
        )


def _advance(bar: "tqdm[NoReturn]", done: int) -> None:
    bar.update(done - bar.n)


@contextmanager
def _stoppable(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C set `stop`; a second one ends the process."""

    def asked(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)
        print("\nStopping; what was measured is written. Once more ends at once.", file=sys.stderr)

    before = signal.signal(signal.SIGINT, asked)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _thumbnails(source: Source) -> Callable[[str], str | None]:
    places = {item.name: index for index, item in enumerate(source.items)}

    def small(name: str) -> str | None:
        sample = source[places[name]]
        return thumbnail(sample.content) if isinstance(sample, Sample) else None

    return small


def _tell(found: Evaluation, files: Sequence[Path]) -> None:
    print(summary.of_evaluation(found))
    _print_paths(files)
    if found.stopped:
        print(f"This report is partial: {printable(found.stopped)}", file=sys.stderr)


def _print_paths(files: Sequence[Path]) -> None:
    for file in files:
        print(f"  {printable(str(file))}")


def _code(found: Evaluation, stop: threading.Event) -> int:
    if stop.is_set():
        return INTERRUPTED
    return 1 if found.stopped or found.metrics is None else 0
