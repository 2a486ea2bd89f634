"""Command line of `python -m bulk`.

    .venv/bin/python -m bulk photos/ --model photos --out results/
    .venv/bin/python -m bulk 's3://bucket/shards/*.tar' --model photos --out s3://bucket/results
    .venv/bin/python -m bulk digits.zip --model mnist-cnn --out results/ --labels
    .venv/bin/python -m bulk gs://bucket/images --model photos --out gs://bucket/results --ray auto

Exit codes: 0 every image has a row, 1 failed, 2 invalid arguments, 130 stopped by Ctrl-C. After 1
and 130, the same command continues.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

COVERAGES: Final = (0.9, 0.95, 0.99)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; errors are printed to stderr as one line."""
    parser = create_parser()
    args = parser.parse_args(arguments)
    if not 0 <= args.task_index < args.task_count:
        parser.error(f"--task-index must be 0 to {args.task_count - 1}, not {args.task_index}")
    if args.ray and args.task_count > 1:
        parser.error("--ray distributes the work itself: it cannot be combined with --task-count")
    if args.ray and args.workers:
        parser.error("--workers is for this machine; limit Ray with --ray-actors")
    # Imports ONNX Runtime and pyarrow, which --help does not need.
    from bulk import commands
    from bulk.errors import BulkError
    from evaluation.errors import EvaluationError
    from evaluation.escaping import escape_unprintable

    try:
        return commands.run(
            commands.Options(
                source=args.source,
                model=args.model,
                out=args.out,
                models_dir=args.models_dir,
                coverage=args.coverage,
                top_k=args.top_k,
                labels=args.labels,
                part_images=args.part_images,
                workers=args.workers,
                ray=args.ray,
                ray_actors=args.ray_actors,
                task=args.task_index,
                tasks=args.task_count,
            )
        )
    except (BulkError, EvaluationError) as error:
        print(f"error: {escape_unprintable(str(error))}", file=sys.stderr)
        return 1
    except OSError as error:
        text = f"{error.filename or args.out}: {error.strerror or type(error).__name__}"
        print(f"error: {escape_unprintable(text)}", file=sys.stderr)
        return 1


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of all arguments."""
    parser = argparse.ArgumentParser(
        "python -m bulk",
        description="Classify all images of a source into Parquet files: one row per image. "
        "The same command continues a job that was stopped.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder or prefix of images or of archives, zip, tar (WebDataset shard), CSV file or "
        "Parquet file of paths or image bytes; a path, a URL such as gs://bucket/prefix or "
        "s3://bucket/prefix, or a pattern such as 'shards/*.tar'",
    )
    parser.add_argument("--model", required=True, help="name or path of a model folder")
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="folder or URL for the results; new, empty, or that of the job to continue",
    )
    parser.add_argument(
        "--models-dir",
        type=Path,
        default=Path("models"),
        help="folder that contains the model folders (default: models)",
    )
    parser.add_argument(
        "--coverage",
        type=float,
        choices=COVERAGES,
        default=0.95,
        help="coverage of prediction sets (default: 0.95)",
    )
    parser.add_argument(
        "--top-k",
        type=_positive_integer,
        default=5,
        metavar="K",
        help="number of labels in the column top (default: 5)",
    )
    parser.add_argument(
        "--labels",
        action="store_true",
        help="the source is labeled (class folders, a column label, .cls files in shards): write "
        "the columns label and probabilities, and the report of `python -m evaluation` to "
        "DIR/_report",
    )
    parser.add_argument(
        "--part-images",
        type=_positive_integer,
        metavar="N",
        help="images of a part file, the unit of work (default: 1000, fewer for small sources)",
    )
    parser.add_argument(
        "--workers",
        type=_positive_integer,
        metavar="N",
        help="processes that classify on this machine (default: the available processors)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="run on Ray: auto (the running cluster), HOST:PORT, ray://HOST:10001, or local (a new "
        "one on this machine); SOURCE and DIR must be reachable from all nodes",
    )
    parser.add_argument(
        "--ray-actors",
        type=_positive_integer,
        metavar="N",
        help="maximum number of Ray actors (default: the processors of the cluster)",
    )
    parser.add_argument(
        "--task-index",
        type=int,
        default=_integer_variable("CLOUD_RUN_TASK_INDEX", 0),
        metavar="I",
        help="number of this task, from 0 (default: CLOUD_RUN_TASK_INDEX, or 0)",
    )
    parser.add_argument(
        "--task-count",
        type=_positive_integer,
        default=_integer_variable("CLOUD_RUN_TASK_COUNT", 1),
        metavar="N",
        help="number of tasks that share the source, by files or shards, and DIR (default: "
        "CLOUD_RUN_TASK_COUNT, or 1)",
    )
    return parser


def _integer_variable(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default


def _positive_integer(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return number
