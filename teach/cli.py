"""Command line of `python -m teach`.

    .venv/bin/python -m teach ants_bees/ --name ants-and-bees
    .venv/bin/python -m teach corrections.zip --name ants-and-bees --url http://localhost:8000

Exit codes: 0 success, 1 failed, 2 invalid arguments, 130 stopped by Ctrl-C.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from client import BackendUnreachable, Client, ClientError
from evaluation.errors import EvaluationError
from evaluation.escaping import escape_unprintable
from teach.errors import TeachError

OUT: Final = Path("models")
INTERRUPTED: Final = 130  # the exit code that shells use for Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; errors are printed to stderr as one line."""
    parser = create_parser()
    args = parser.parse_args(arguments)
    if args.url and "://" not in args.url:
        parser.error("--url must start with http:// or https://, e.g. http://localhost:8000")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _run(args)
    except (TeachError, EvaluationError) as error:
        message = str(error)
    except BackendUnreachable as error:
        message = f"{error}; check --url, and that the backend is running"
    except ClientError as error:
        message = f"{args.url}: {error}"
    except OSError as error:
        message = f"{error.filename or args.out} cannot be written: {error.strerror or error}"
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return INTERRUPTED
    print(f"error: {escape_unprintable(message)}", file=sys.stderr)
    return 1


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of all arguments."""
    parser = argparse.ArgumentParser(
        "python -m teach",
        description="Teach a model your own classes, from 2 images per class. About 10 are enough.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=Path,
        help="folder or zip of class folders (ants/a.jpg), a history export with images, or a CSV "
        "file with the columns path and label; the class folder none_of_these is for images of "
        "none of the classes",
    )
    parser.add_argument("--name", required=True, help="name of the model, e.g. ants-and-bees")
    parser.add_argument("--title", help="title of the model (default: its name)")
    parser.add_argument(
        "--url", help="URL of a backend that computes the features and serves the model"
    )
    parser.add_argument(
        "--api-key",
        default=os.environ.get("BACKEND_API_KEY"),
        help="API key of the backend (default: BACKEND_API_KEY)",
    )
    parser.add_argument("--reason", help="reason of the change, stored with the version")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write the model folder DIR/NAME (default without --url: models)",
    )
    parser.add_argument("--backbone", default="photos", help="backbone (default: photos)")
    parser.add_argument(
        "--models-dir",
        type=Path,
        default=Path("models"),
        help="without --url: folder that contains the backbone (default: models)",
    )
    parser.add_argument(
        "--split",
        choices=["test", "train"],
        default="train",
        help="split of a folder of MNIST's files (default: train)",
    )
    return parser


def _run(args: argparse.Namespace) -> int:
    # Imports scikit-learn, which --help does not need.
    from tqdm import tqdm

    from teach import model_folder
    from teach.sources import SourceExamples, open_examples
    from teach.summary import summarize
    from teach.train import train
    from teach.types import Embed

    model_folder.check_name(args.name)
    out = args.out or (None if args.url else OUT)
    if out is not None and (out / args.name).exists():
        raise TeachError(f"{out / args.name} exists; use another --name or --out, or remove it.")
    with ExitStack() as stack:
        source = stack.enter_context(open_examples(args.source, args.split))
        for note in source.notes:
            if "none_of_these" not in note:
                print(f"{source.name}: {note}", file=sys.stderr)
        client: Client | None = None
        embedding: Embed
        if args.url:
            from teach.served_embedding import ServedEmbedding

            client = stack.enter_context(_create_client(args.url, args.api_key))
            _check_replaceable(client, args.name)
            served = ServedEmbedding(client, args.backbone)
            embedding, backbone = served, served.backbone
        else:
            from teach.local_embedding import LocalEmbedding

            local = stack.enter_context(LocalEmbedding(args.models_dir / args.backbone))
            embedding, backbone = local, local.backbone
        bar = stack.enter_context(
            tqdm(total=100, bar_format="{desc}: {percentage:3.0f}%|{bar}|", leave=False)
        )

        def show(step: str, share: float) -> None:
            bar.set_description(step, refresh=False)
            bar.n = round(100 * share)
            bar.refresh()

        model = train(
            SourceExamples(source),
            embedding,
            backbone,
            name=args.name,
            title=args.title,
            progress=show,
        )
        bar.close()
        print(summarize(model.report))
        if out is not None:
            model.write(out / args.name)
            print(f"Model: {out / args.name}")
        if client is not None:
            try:
                version = client.put_model(
                    args.name, model.manifest, model.head, card=model.card, reason=args.reason
                )
            except ClientError:
                if out is None and not (kept := OUT / args.name).exists():
                    model.write(kept)
                    print(f"The model was not uploaded. It is in the folder {kept}.")
                raise
            print(f"Served: {client.url} {version.name}@{version.version}")
            print(f"curl -F file=@image.jpg '{client.url}/classify?model={version.name}'")
    return 0


def _check_replaceable(client: Client, name: str) -> None:
    """Raise TeachError, before any work, if the backend has a model `name` of its own."""
    served = client.models().get(name)
    if name == "auto" or (served is not None and not served.taught):
        raise TeachError(f"The name {name} is reserved by the backend; use another --name.")


def _create_client(url: str, api_key: str | None) -> Client:
    try:
        return Client(url, api_key=api_key)
    except ValueError as error:
        raise TeachError(f"{url}: {error}") from error
