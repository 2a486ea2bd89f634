"""Measure a classifier on labelled pictures, from the shell.

    .venv/bin/python -m evaluation digits.zip --model mnist-cnn
    .venv/bin/python -m evaluation digits.zip --url http://localhost:8000
    .venv/bin/python -m evaluation digits.zip --compare mnist-cnn ./my-model
    .venv/bin/python -m evaluation --compare evaluation-a evaluation-b

Exit codes: 0 measured, 1 not or not wholly, 2 asked wrongly, 130 stopped by Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from evaluation.errors import EvaluationError
from evaluation.text import printable

COVERAGES: Final = (0.9, 0.95, 0.99)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; one line on stderr where that cannot be done."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.source is None and not given.compare:
        parser.error("name the SOURCE of labelled pictures")
    if given.source is not None and not (given.model or given.url or given.compare):
        parser.error("name what to measure: --model NAME, --url URL or --compare A B")
    if given.compare and (given.model or given.url):
        parser.error("--compare names both models; leave --model and --url out")
    if given.url and "://" not in given.url:
        parser.error("--url takes an address with http:// or https://, as http://localhost:8000")
    if given.compare and given.outliers:
        parser.error("--outliers goes with one model, not with --compare")
    from evaluation import commands  # scikit-learn and matplotlib, which --help does without

    try:
        if given.source is None:
            return commands.compare_reports(given.compare[0], given.compare[1], given.out)
        plan = commands.Plan(
            source=given.source,
            split=given.split,
            limit=given.limit,
            outliers=given.outliers,
            out=given.out,
            models_dir=given.models_dir,
            coverage=given.coverage,
        )
        if given.compare:
            return commands.compare_models(plan, given.compare[0], given.compare[1])
        model = f"#{given.model}" if given.url and given.model else ""
        return commands.measure_model(plan, given.url + model if given.url else given.model)
    except EvaluationError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m evaluation", description="Measure an image classifier on labelled pictures."
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=Path,
        nargs="?",
        help="a folder of class folders (7/a.png), a zip of such, a CSV with the columns path and "
        "label, a folder of MNIST's files, or one of its files of pictures",
    )
    parser.add_argument(
        "--model", help="name of a model folder, or its path; with --url a model there"
    )
    parser.add_argument("--url", help="address of a backend, as http://localhost:8000")
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="two models (names, paths, URL#NAME) on the SOURCE; without it two finished reports",
    )
    parser.add_argument(
        "--models-dir",
        type=Path,
        default=Path("models"),
        help="where names are looked for (models)",
    )
    parser.add_argument(
        "--split", choices=["test", "train"], default="test", help="of a folder of MNIST's (test)"
    )
    parser.add_argument(
        "--coverage",
        type=float,
        choices=COVERAGES,
        default=0.95,
        help="what prediction sets promise (0.95)",
    )
    parser.add_argument(
        "--outliers",
        type=Path,
        metavar="SOURCE",
        help="a folder or a zip of pictures that are not of the model's world",
    )
    parser.add_argument(
        "--limit", type=_positive, metavar="N", help="measure only N pictures, evenly spread"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="an empty or new folder (evaluation-NAME-TIME)"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return number
