"""Train a shipped model and write its folder.

    .venv/bin/python -m training.train mnist-cnn --data DIR --out models/

DIR holds MNIST's four .gz files; without --data they are downloaded. The pools that are rendered
first, the averaged weights of the last epoch and the log of each are kept in runs/.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import nn

from backend.inference import networks
from backend.inference.digits import DigitPreprocess
from backend.inference.errors import ArtifactError
from training.data import DataError, find_mnist
from training.digits import export_digits
from training.fit import Schedule, accuracy, fit
from training.sources import training_sources, validation_sets

RUNS = Path("runs")


def train(name: str, mnist: Path, out: Path, schedule: Schedule, threads: int) -> None:
    """Train the architecture `name` and write the model folder `out/name`."""
    torch.set_num_threads(threads)
    torch.manual_seed(schedule.seed)
    network = networks.build(name)
    spec = DigitPreprocess()
    run = RUNS / name
    run.mkdir(parents=True, exist_ok=True)
    sources = training_sources(mnist, spec, RUNS / "pools", threads)
    checks = validation_sets(mnist, spec, RUNS / "pools", threads)

    def after_epoch(epoch: int, average: nn.Module) -> None:
        figures = {
            check: round(accuracy(average, digits, spec), 4) for check, digits in checks.items()
        }
        print(json.dumps({"epoch": epoch, **figures}), flush=True)
        torch.save(average.state_dict(), run / "weights.pt")

    trained = fit(network, sources, spec, schedule, after_epoch)

    model = export_digits(trained, name, mnist, out, spec, checks)
    print(f"wrote {model.folder}: {model.manifest.metrics}")


def main(arguments: list[str] | None = None) -> None:
    """Read the command line; exit with one line where a path or a name is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train", description="Train a shipped model."
    )
    parser.add_argument("model", choices=["mnist-cnn"])
    parser.add_argument("--data", type=Path, help="folder of MNIST's files (default: download)")
    parser.add_argument("--out", type=Path, default=Path("models"), help="where its folder goes")
    parser.add_argument("--epochs", type=int, default=Schedule.epochs)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--bfloat16", action="store_true", help="compute in bfloat16: fast where the CPU has it"
    )
    given = parser.parse_args(arguments)
    if given.epochs < 1 or given.threads < 1:
        parser.error("--epochs and --threads are 1 or more")
    try:
        mnist = find_mnist(given.data, RUNS / "data")
        schedule = Schedule(epochs=given.epochs, bfloat16=given.bfloat16)
        train(given.model, mnist, given.out, schedule, given.threads)
    except (DataError, ArtifactError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
