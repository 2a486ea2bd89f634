"""Commands of `python -m evaluation`."""

import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from tqdm import tqdm

from evaluation import report
from evaluation.compare import ModelRecords, compare
from evaluation.errors import ReportError
from evaluation.escaping import escape_unprintable
from evaluation.evaluate import MULTI_LABEL, evaluate
from evaluation.ground_truth import check_same_labels, match_labels
from evaluation.predictors.local import LocalPredictor, find_model
from evaluation.predictors.served import ServedPredictor
from evaluation.results import Evaluation
from evaluation.sources import open_source
from evaluation.sources.base import Source, evenly_spaced
from evaluation.summary import summarize_comparison, summarize_evaluation
from evaluation.thumbnails import create_thumbnail_uri
from evaluation.types import Predictor, Sample

INTERRUPTED: Final = 130  # the exit code that shells use for Ctrl-C


@dataclass(frozen=True, slots=True)
class Options:
    """Options of an evaluation; `out` None creates a new folder in the current one."""

    source: Path
    split: str
    limit: int | None
    outliers: Path | None
    out: Path | None
    models_dir: Path
    coverage: float


@dataclass(frozen=True, slots=True)
class _Data:
    """The opened sources and the indices of the images to evaluate."""

    source: Source
    indices: Sequence[int]
    outliers: Source | None
    outlier_indices: Sequence[int]

    def labeled_for(self, model: Predictor) -> "_Data":
        """Return the data with the labels of `model`; raise LabelError."""
        several = model.task == MULTI_LABEL
        source = match_labels(self.source, model.labels, model.label_ids, several=several)
        return replace(self, source=source)


def measure_model(options: Options, address: str) -> int:
    """Evaluate one model, write its report and return the exit code."""
    with ExitStack() as stack:
        data = _open_data(options, stack)
        stop = threading.Event()
        model = stack.enter_context(open_model(address, options, stop))
        data = data.labeled_for(model)
        folder = stack.enter_context(create_report_folder(options.out, model.name))
        evaluation = _evaluate(data, model, stop)
        _print_results(evaluation, report.write(evaluation, folder))
        return _exit_code(evaluation, stop)


def compare_models(options: Options, a: str, b: str) -> int:
    """Evaluate two models on the same images, write both reports and the comparison."""
    with ExitStack() as stack:
        data = _open_data(options, stack)
        stop = threading.Event()
        models = [stack.enter_context(open_model(address, options, stop)) for address in (a, b)]
        for model in models:
            if model.task == MULTI_LABEL:
                raise ReportError(
                    f"{model.name} is a multi-label model, which --compare does not support; "
                    "evaluate each model with --model"
                )
        matched = [data.labeled_for(model) for model in models]
        check_same_labels(matched[0].source, matched[1].source)
        names = [model.name for model in models]
        if names[0] == names[1]:
            names = [a, b]
        folder = stack.enter_context(create_report_folder(options.out, "-".join(names)))
        sides: list[ModelRecords] = []
        for name, model, labeled, side in zip(names, models, matched, "ab", strict=True):
            evaluation = _evaluate(labeled, model, stop)
            _print_results(evaluation, report.write(evaluation, folder / side))
            if code := _exit_code(evaluation, stop):
                return code
            sides.append(ModelRecords(name, model.labels, evaluation.records))
        comparison = compare(sides[0], sides[1], _thumbnail_loader(data.source))
        print(summarize_comparison(comparison))
        _print_paths(report.write_comparison(comparison, folder))
        return 0


def compare_reports(a: str, b: str, out: Path | None) -> int:
    """Compare the finished reports in two folders."""
    comparison = compare(report.read(Path(a)), report.read(Path(b)))
    with create_report_folder(out, f"{comparison.a}-{comparison.b}") as folder:
        print(summarize_comparison(comparison))
        _print_paths(report.write_comparison(comparison, folder))
    return 0


@contextmanager
def open_model(address: str, options: Options, stop: threading.Event) -> Iterator[Predictor]:
    """Open the model at `address`: `mnist-cnn`, `./my-model`, `http://localhost:8000#mnist-cnn`.

    Setting `stop` ends retries. Raise PredictorError if the model cannot be opened.
    """
    if "://" in address:
        url, _, model = address.partition("#")
        with ServedPredictor(url, model or None, coverage=options.coverage, stop=stop) as served:
            yield served
    else:
        folder = find_model(address, options.models_dir)
        with LocalPredictor(
            folder, coverage=options.coverage, models_dir=options.models_dir
        ) as local:
            yield local


@contextmanager
def create_report_folder(out: Path | None, name: str) -> Iterator[Path]:
    """Create the folder `out`, or a new one named after `name` and the time.

    A new folder that stays empty is removed. Raise ReportError if the folder cannot be created or
    is not empty.
    """
    if out is None:
        safe_name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "model"
        time = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        out = _unused_path(Path(f"evaluation-{safe_name}-{time}"))
    try:
        is_new = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ReportError(f"{out} is not empty; choose another folder with --out")
    except OSError as error:
        raise ReportError(f"{out} cannot be created: {error.strerror}") from error
    try:
        yield out
    finally:
        if is_new and not any(out.iterdir()):
            out.rmdir()


def _unused_path(path: Path) -> Path:
    number = 2
    unused = path
    while unused.exists():
        unused = path.with_name(f"{path.name}-{number}")
        number += 1
    return unused


def _open_data(options: Options, stack: ExitStack) -> _Data:
    source = stack.enter_context(open_source(options.source, split=options.split))
    outliers = None
    if options.outliers is not None:
        outliers = stack.enter_context(open_source(options.outliers, labeled=False))
    return _Data(
        source,
        evenly_spaced(len(source), options.limit),
        outliers,
        evenly_spaced(len(outliers) if outliers else 0, options.limit),
    )


def _evaluate(data: _Data, model: Predictor, stop: threading.Event) -> Evaluation:
    total = len(data.indices) + len(data.outlier_indices)
    notes = list(data.source.notes)
    if len(data.indices) < len(data.source):
        notes.append(f"{len(data.indices):,} of {len(data.source):,} images, evenly spaced")
    with (
        _set_on_interrupt(stop),
        tqdm(total=total, desc=escape_unprintable(model.name), unit=" images", disable=None) as bar,
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
            is_cancelled=stop.is_set,
        )


def _advance(bar: "tqdm[NoReturn]", done: int) -> None:
    bar.update(done - bar.n)


@contextmanager
def _set_on_interrupt(stop: threading.Event) -> Iterator[None]:
    """Set `stop` on the first Ctrl-C; a second one ends the process."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, previous)
        print(
            "\nStopping and writing a partial report. Press Ctrl-C again to quit without it.",
            file=sys.stderr,
        )

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _thumbnail_loader(source: Source) -> Callable[[str], str | None]:
    index_of = {item.name: index for index, item in enumerate(source.items)}

    def load(name: str) -> str | None:
        sample = source[index_of[name]]
        return create_thumbnail_uri(sample.content) if isinstance(sample, Sample) else None

    return load


def _print_results(evaluation: Evaluation, files: Sequence[Path]) -> None:
    print(summarize_evaluation(evaluation))
    _print_paths(files)
    if evaluation.stopped:
        print(f"This report is partial: {escape_unprintable(evaluation.stopped)}", file=sys.stderr)


def _print_paths(files: Sequence[Path]) -> None:
    for file in files:
        print(f"  {escape_unprintable(str(file))}")


def _exit_code(evaluation: Evaluation, stop: threading.Event) -> int:
    if stop.is_set():
        return INTERRUPTED
    is_measured = evaluation.metrics is not None or evaluation.label_metrics is not None
    return 1 if evaluation.stopped or not is_measured else 0
