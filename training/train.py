"""Train a bundled model and write its folder.

    .venv/bin/python -m training.train mnist-cnn --data DIR --out models/

The models are mnist-cnn, mnist-mlp and mnist-tree. DIR contains MNIST's four .gz files; without
--data they are downloaded. Rendered images, the metrics of each epoch, the results of the final
test and checkpoints are stored in runs/. The same command resumes a killed run after its last
finished epoch.
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
from backend.inference.preprocessing.digit_crop import DigitPreprocess, normalize
from training.data.digits import DataError, Digits, find_mnist
from training.data.sources import (
    TrainingSource,
    load_training_sources,
    load_validation_negatives,
    load_validation_sets,
)
from training.fit import decision_tree
from training.fit.checkpoints import CheckpointError, Checkpoints, hash_digits
from training.fit.loop import EpochMetrics, FitError, Schedule, compute_logits, fit
from training.fit.run_folder import RunError, RunFolder
from training.fit.tracking import TRACKERS, BufferedTracker, TrackingError, track_run
from training.package.digit_models import DigitClassifier, measure
from training.package.export import export, export_graph
from training.package.onnx_import import run_graph

RUNS = Path("runs")
PARITY_IMAGES = 1_000
SCHEDULES = {"mnist-cnn": Schedule(), "mnist-mlp": Schedule(epochs=40)}
NETWORKS = {
    "mnist-cnn": "a convolutional network",
    "mnist-mlp": "a network of two hidden dense layers",
}
TREE = "mnist-tree"
TITLES = {
    "mnist-cnn": "Handwritten digits",
    "mnist-mlp": "Handwritten digits, dense network",
    TREE: "Handwritten digits, decision tree",
}
NETWORK_TRAINING = """\
The weights are averages over the last steps of epoch {best} of {epochs}, which had the lowest loss
on the validation sets; `runs/` contains the metrics of each epoch. Crops without a digit form an
eleventh class whose logit is always 0, so that the logsumexp of the ten logits is the log-odds of
a digit."""
EPOCH_SELECTION = " The epoch was also selected on them."
TREE_TRAINING = """\
scikit-learn's decision tree on raw pixels, converted to ONNX: a baseline for the networks. It was
not trained on images without a digit."""


@dataclasses.dataclass(frozen=True)
class Task:
    """The model to train, the MNIST folder, the output folder and the number of threads."""

    name: str
    mnist: Path
    out: Path
    threads: int


def train_network(
    task: Task, run: RunFolder, tracker: BufferedTracker, schedule: Schedule, fresh: bool
) -> dict[str, Any]:
    """Train a network, write its model folder and return the summary of the run.

    Resumes from the checkpoints of `run` unless `fresh` is set.
    """
    spec = DigitPreprocess()
    torch.set_num_threads(task.threads)
    torch.manual_seed(schedule.seed)
    network = networks.build(task.name)
    sources, validation, negatives = _load_data(task)
    settings = dataclasses.asdict(schedule)
    del settings["epochs"]  # a run may be resumed with more epochs
    checkpoints = Checkpoints(
        run.checkpoints,
        {
            "network": repr(network),
            "settings": json.dumps(settings | {"preprocess": spec.model_dump()}),
            "shares": repr([source.share for source in sources]),
            "data": hash_digits([*(source.digits for source in sources), *validation.values()]),
        },
    )
    if fresh:
        checkpoints.clear()

    def after_epoch(history: list[EpochMetrics]) -> None:
        run.write_history(history)
        tracker.log_metrics(len(history), history[-1])
        print(json.dumps({name: round(v, 5) for name, v in history[-1].items()}), flush=True)

    result = fit(network, sources, validation, spec, schedule, checkpoints, after_epoch)
    run.write_history(result.history)
    run.write_learning_curves(result.history)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    classifier = DigitClassifier(
        name=task.name,
        title=TITLES[task.name],
        architecture=task.name,
        kind=f"{NETWORKS[task.name]}, {parameters:,} parameters",
        training=NETWORK_TRAINING.format(best=result.best_epoch, epochs=len(result.history)),
        spec=spec,
        output="logits",
        compute_outputs=partial(compute_logits, result.network, spec=spec),
        flags=" --bfloat16" if schedule.bfloat16 else "",
        selection=EPOCH_SELECTION,
        rows={
            f"largest difference of PyTorch and ONNX Runtime, {PARITY_IMAGES:,} test digits": (
                "{parity:.1e}"  # filled in by export()
            )
        },
    )
    measured = measure(classifier, task.mnist, validation, negatives)
    probe = np.ascontiguousarray(normalize(measured.test.pixels[:PARITY_IMAGES], spec))
    model = export(result.network, measured.manifest, task.out / task.name, probe, measured.card)
    run.write_test_results(measured)
    return {
        **_summarize(model),
        "settings": dataclasses.asdict(schedule),
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "best": result.history[result.best_epoch - 1],
        "seconds": sum(epoch["seconds"] for epoch in result.history),
    }


def train_tree(task: Task, run: RunFolder) -> dict[str, Any]:
    """Fit the decision tree, write its model folder and return the summary of the run."""
    spec = decision_tree.SPEC
    sources, validation, negatives = _load_data(task)
    tree = decision_tree.fit_tree(sources)
    graph = decision_tree.convert_to_onnx(tree)
    classifier = DigitClassifier(
        name=task.name,
        title=TITLES[task.name],
        architecture="onnx",
        kind=f"a decision tree of {tree.get_n_leaves():,} leaves",
        training=TREE_TRAINING,
        spec=spec,
        output="probabilities",
        compute_outputs=lambda crops: run_graph(graph, normalize(crops, spec)),
    )
    measured = measure(classifier, task.mnist, validation, negatives)
    model = export_graph(graph.model, measured.manifest, task.out / task.name, measured.card)
    run.write_test_results(measured)
    return {**_summarize(model), "settings": dict(decision_tree.SETTINGS)}


def _load_data(task: Task) -> tuple[list[TrainingSource], dict[str, Digits], Digits]:
    """Return training sources, validation sets and negatives, which all models share."""
    common = (DigitPreprocess(), RUNS / "rendered", task.threads)
    sources = load_training_sources(task.mnist, *common)
    return sources, load_validation_sets(task.mnist, *common), load_validation_negatives(*common)


def _summarize(model: Artifact) -> dict[str, Any]:
    return {"model": model.manifest.name, "metrics": model.manifest.metrics}


def train(task: Task, options: argparse.Namespace) -> None:
    """Train the model of `task` and write its model folder and its run folder."""
    run = RunFolder(RUNS / task.name)
    schedule, fresh = SCHEDULES.get(task.name, Schedule()), options.fresh
    epochs = options.epochs or schedule.epochs
    schedule = dataclasses.replace(schedule, bfloat16=options.bfloat16, epochs=epochs)
    settings = decision_tree.SETTINGS if task.name == TREE else dataclasses.asdict(schedule)
    with run.lock(), track_run(options.track, RUNS, task.name, settings, fresh=fresh) as tracker:
        if task.name == TREE:
            summary = train_tree(task, run)
        else:
            summary = train_network(task, run, tracker, schedule, fresh)
        run.write_summary(summary)
        tracker.log_metrics(summary.get("epochs", 1), summary["metrics"])
        for path in run.result_files():
            tracker.log_artifact(path)
    print(f"wrote {task.out / task.name}: {summary['metrics']}; run folder: {run.folder}")


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and train the model; exit with a one-line error on failure."""
    parser = argparse.ArgumentParser(
        "python -m training.train", description="Train a bundled model."
    )
    option = parser.add_argument
    option("model", choices=[*SCHEDULES, TREE])
    option("--data", type=Path, help="folder of the MNIST files (default: download)")
    option(
        "--out", type=Path, default=Path("models"), help="folder of model folders (default: models)"
    )
    option("--epochs", type=int, help="maximum number of epochs")
    option("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    option("--bfloat16", action="store_true", help="use bfloat16: faster on CPUs with avx512_bf16")
    option("--fresh", action="store_true", help="start over instead of resuming an earlier run")
    option("--track", choices=TRACKERS, help="also record the run with this tracker")
    options = parser.parse_args(arguments)
    if options.threads < 1 or (options.epochs is not None and options.epochs < 1):
        parser.error("--epochs and --threads must be at least 1")
    try:
        mnist = find_mnist(options.data, RUNS / "data")
        train(Task(options.model, mnist, options.out, options.threads), options)
    except (ArtifactError, CheckpointError, DataError, FitError) as error:
        sys.exit(f"error: {error}")
    except (RunError, TrackingError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        message = "stopped; run the same command to resume after the last finished epoch"
        print(message, file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
