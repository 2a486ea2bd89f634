"""Command line of `python -m evaluation`.

    .venv/bin/python -m evaluation digits.zip --model mnist-cnn
    .venv/bin/python -m evaluation digits.zip --url http://localhost:8000 --model mnist-cnn
    .venv/bin/python -m evaluation digits.zip --compare mnist-cnn ./my-model
    .venv/bin/python -m evaluation --compare evaluation-a evaluation-b

Exit codes: 0 success, 1 failed or partial evaluation, 2 invalid arguments, 130 stopped by Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from evaluation.errors import EvaluationError
from evaluation.escaping import escape_unprintable

COVERAGES: Final = (0.9, 0.95, 0.99)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; errors are printed to stderr as one line."""
    parser = create_parser()
    args = parser.parse_args(arguments)
    if args.source is None and not args.compare:
        parser.error("SOURCE is required")
    if args.source is not None and not (args.model or args.url or args.compare):
        parser.error("one of --model NAME, --url URL or --compare A B is required")
    if args.compare and (args.model or args.url):
        parser.error("--compare cannot be combined with --model or --url")
    if args.url and "://" not in args.url:
        parser.error("--url must start with http:// or https://, e.g. http://localhost:8000")
    if args.compare and args.outliers:
        parser.error("--outliers cannot be combined with --compare")
    # Imports scikit-learn and matplotlib, which --help does not need.
    from evaluation import commands

    try:
        if args.source is None:
            return commands.compare_reports(args.compare[0], args.compare[1], args.out)
        options = commands.Options(
            source=args.source,
            split=args.split,
            limit=args.limit,
            outliers=args.outliers,
            out=args.out,
            models_dir=args.models_dir,
            coverage=args.coverage,
        )
        if args.compare:
            return commands.compare_models(options, args.compare[0], args.compare[1])
        model = f"#{args.model}" if args.url and args.model else ""
        return commands.measure_model(options, args.url + model if args.url else args.model)
    except EvaluationError as error:
        print(f"error: {escape_unprintable(str(error))}", file=sys.stderr)
        return 1


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of all arguments."""
    parser = argparse.ArgumentParser(
        "python -m evaluation", description="Evaluate an image classifier on labeled images."
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=Path,
        nargs="?",
        help="folder of class folders (7/a.png), zip of class folders, CSV file with the columns "
        "path and label, folder of MNIST's files, or one of MNIST's files of images",
    )
    parser.add_argument(
        "--model", help="name or path of a model folder; with --url, a model of that backend"
    )
    parser.add_argument("--url", help="URL of a backend, e.g. http://localhost:8000")
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="compare two models (names, paths or URL#NAME) on SOURCE, or, without SOURCE, two "
        "finished reports",
    )
    parser.add_argument(
        "--models-dir",
        type=Path,
        default=Path("models"),
        help="folder that contains the model folders (default: models)",
    )
    parser.add_argument(
        "--split",
        choices=["test", "train"],
        default="test",
        help="split of a folder of MNIST's files (default: test)",
    )
    parser.add_argument(
        "--coverage",
        type=float,
        choices=COVERAGES,
        default=0.95,
        help="coverage of prediction sets (default: 0.95)",
    )
    parser.add_argument(
        "--outliers",
        type=Path,
        metavar="SOURCE",
        help="folder or zip of images that belong to none of the model's classes",
    )
    parser.add_argument(
        "--limit",
        type=_positive_integer,
        metavar="N",
        help="evaluate at most N images, evenly spaced over the data",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="new or empty folder for the report (default: evaluation-NAME-TIME)",
    )
    return parser


def _positive_integer(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return number
