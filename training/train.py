"""Train a shipped model and write its folder.

    .venv/bin/python -m training.train mnist-cnn --data DIR --out models/

The models are mnist-cnn, mnist-mlp and mnist-tree. DIR holds MNIST's four .gz files; without --data
they are downloaded. What is rendered first, the figures of each epoch and of the final test, and
what a killed run goes on from lie in runs/: after a kill, the same command again goes on from the
last finished epoch.
"""

import argparse
import dataclasses
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.inference.errors import ArtifactError
from backend.inference.models import networks
from backend.inference.models.artifact import Artifact
from backend.inference.preprocessing.digits import DigitPreprocess, normalize
from training.data.digits import DataError, Digits, find_mnist
from training.data.sources import Source, training_sources, validation_nothing, validation_sets
from training.fit import decision_tree
from training.fit.checkpoints import CheckpointError, Checkpoints, digest
from training.fit.loop import FitError, Record, fit, outputs_of
from training.fit.run_folder import Run, RunError
from training.fit.schedule import Schedule
from training.fit.tracking import TRACKERS, Parameters, Patient, TrackingError, tracked
from training.package.digit_models import Reader, measure
from training.package.export import export, export_graph
from training.package.onnx_import import scores

RUNS = Path("runs")
PARITY_IMAGES = 1_000
SCHEDULES = {"mnist-cnn": Schedule(), "mnist-mlp": Schedule(epochs=40)}
KINDS = {
    "mnist-cnn": "a convolutional network",
    "mnist-mlp": "a network of two hidden dense layers",
}
TREE = "mnist-tree"
TITLES = {
    "mnist-cnn": "Handwritten digits",
    "mnist-mlp": "Handwritten digits, dense network",
    TREE: "Handwritten digits, decision tree",
}
LEARNING = """\
The weights are averages over the last steps of epoch {best} of {epochs}, which had the least loss
on the validation sets; `runs/` keeps the figures of each epoch. Fields without a digit were learnt
as an eleventh class whose logit is always 0, so that the logarithm of the sum of the exponentials
of the ten logits is the log-odds of a digit against none."""
CHOICE = " They chose the epoch, too."
TREE_LEARNING = """\
scikit-learn's decision tree on the pixels, converted to ONNX: it shows what a network is worth.
It has not learnt what is no digit."""


@dataclasses.dataclass(frozen=True)
class Task:
    """What is trained, from what, where to."""

    name: str
    mnist: Path
    out: Path
    threads: int


def train_network(
    task: Task, run: Run, tracker: Patient, schedule: Schedule, fresh: bool
) -> dict[str, Any]:
    """Train one of our networks and write its folder; returns the summary of the run.

    Goes on from the checkpoints of `run`, unless it is to start `fresh`.
    """
    spec = DigitPreprocess()
    torch.set_num_threads(task.threads)
    torch.manual_seed(schedule.seed)
    network = networks.build(task.name)
    sources, checks = _fields(task)
    settings = dataclasses.asdict(schedule)
    del settings["epochs"]  # more of them only go on
    checkpoints = Checkpoints(
        run.checkpoints,
        {
            "network": repr(network),
            "settings": json.dumps(settings | {"preprocess": spec.model_dump()}),
            "shares": repr([source.share for source in sources]),
            "data": digest([*(source.digits for source in sources), *checks.values()]),
        },
    )
    if fresh:
        checkpoints.clear()

    def after_epoch(history: list[Record]) -> None:
        run.record(history)
        tracker.log(len(history), history[-1])
        print(json.dumps({name: round(v, 5) for name, v in history[-1].items()}), flush=True)

    fitted = fit(network, sources, checks, spec, schedule, checkpoints, after_epoch)
    run.record(fitted.history)
    run.draw_curves(fitted.history)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    reader = Reader(
        name=task.name,
        title=TITLES[task.name],
        architecture=task.name,
        kind=f"{KINDS[task.name]}, {parameters:,} parameters",
        learning=LEARNING.format(best=fitted.best, epochs=len(fitted.history)),
        spec=spec,
        output="logits",
        outputs_of=partial(outputs_of, fitted.network, spec=spec),
        flags=" --bfloat16" if schedule.bfloat16 else "",
        choice=CHOICE,
        rows={
            f"largest difference of torch and ONNX Runtime, {PARITY_IMAGES:,} test digits": (
                "{parity:.1e}"  # known when it is exported
            )
        },
    )
    measured = measure(reader, task.mnist, checks, _nothing(task))
    probe = np.ascontiguousarray(normalize(measured.test.pixels[:PARITY_IMAGES], spec))
    model = export(fitted.network, measured.manifest, task.out / task.name, probe, measured.card)
    run.draw_test(measured)
    return {
        **_summary(model),
        "settings": dataclasses.asdict(schedule),
        "epochs": len(fitted.history),
        "best_epoch": fitted.best,
        "best": fitted.history[fitted.best - 1],
        "seconds": sum(record["seconds"] for record in fitted.history),
    }


def train_tree(task: Task, run: Run) -> dict[str, Any]:
    """Grow the decision tree and write its folder; returns the summary of the run."""
    spec = decision_tree.SPEC
    sources, checks = _fields(task)
    grown = decision_tree.grow(sources)
    graph = decision_tree.to_graph(grown)
    reader = Reader(
        name=task.name,
        title=TITLES[task.name],
        architecture="onnx",
        kind=f"a decision tree of {grown.get_n_leaves():,} leaves",
        learning=TREE_LEARNING,
        spec=spec,
        output="probabilities",
        outputs_of=lambda fields: scores(graph, normalize(fields, spec)),
    )
    measured = measure(reader, task.mnist, checks, _nothing(task))
    model = export_graph(graph.model, measured.manifest, task.out / task.name, measured.card)
    run.draw_test(measured)
    return {**_summary(model), "settings": dict(decision_tree.SETTINGS)}


def _fields(task: Task) -> tuple[list[Source], dict[str, Digits]]:
    """What is learnt from and what validates: fields, which all models share."""
    common = (task.mnist, DigitPreprocess(), RUNS / "pools", task.threads)
    return training_sources(*common), validation_sets(*common)


def _nothing(task: Task) -> Digits:
    """Fields without a digit, to measure what a model refuses."""
    return validation_nothing(DigitPreprocess(), RUNS / "pools", task.threads)


def _summary(model: Artifact) -> dict[str, Any]:
    return {"model": model.manifest.name, "metrics": model.manifest.metrics}


def train(
    task: Task, *, epochs: int | None, bfloat16: bool, fresh: bool, track: str | None
) -> None:
    """Train the model that `task` names, in its run folder."""
    run = Run(RUNS / task.name)
    schedule = dataclasses.replace(SCHEDULES.get(task.name, Schedule()), bfloat16=bfloat16)
    schedule = dataclasses.replace(schedule, epochs=epochs or schedule.epochs)
    settings: Parameters = dataclasses.asdict(schedule)
    if task.name == TREE:
        settings = decision_tree.SETTINGS
    with run.locked(), tracked(track, RUNS, task.name, settings, fresh=fresh) as tracker:
        if task.name == TREE:
            summary = train_tree(task, run)
        else:
            summary = train_network(task, run, tracker, schedule, fresh)
        run.summarize(summary)
        tracker.log(summary.get("epochs", 1), summary["metrics"])
        for path in run.results():
            tracker.artifact(path)
    print(f"wrote {task.out / task.name}: {summary['metrics']}; the run is in {run.folder}")


def main(arguments: list[str] | None = None) -> None:
    """Read the command line; exit with one line where a path or a name is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train", description="Train a shipped model."
    )
    parser.add_argument("model", choices=[*SCHEDULES, TREE])
    parser.add_argument("--data", type=Path, help="folder of MNIST's files (default: download)")
    parser.add_argument("--out", type=Path, default=Path("models"), help="where its folder goes")
    parser.add_argument("--epochs", type=int, help="at most so many")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--bfloat16", action="store_true", help="compute in bfloat16: fast where the CPU has it"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="start over, whatever an earlier run has kept"
    )
    parser.add_argument("--track", choices=TRACKERS, help="also tell this tracker of the run")
    given = parser.parse_args(arguments)
    if given.threads < 1 or (given.epochs is not None and given.epochs < 1):
        parser.error("--epochs and --threads are 1 or more")
    try:
        task = Task(given.model, find_mnist(given.data, RUNS / "data"), given.out, given.threads)
        train(
            task,
            epochs=given.epochs,
            bfloat16=given.bfloat16,
            fresh=given.fresh,
            track=given.track,
        )
    except (ArtifactError, CheckpointError, DataError, FitError) as error:
        sys.exit(f"error: {error}")
    except (RunError, TrackingError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last finished epoch", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
