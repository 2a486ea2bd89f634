"""The command `prism`: classify image files and folders with a backend.

prism classify seven.jpg photos/ --url http://localhost:8000
"""

import argparse
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from . import __version__
from .client import Client
from .errors import BackendError, BackendUnreachable, ClientError, InvalidResponse
from .files import FileResult, find_images
from .output import JsonLines, Output, Table, printable
from .types import Classification

URL_VARIABLE: Final = "PRISM_URL"
KEY_VARIABLE: Final = "PRISM_API_KEY"

_FAILED: Final = 1
_USAGE: Final = 2
_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells report it
_BROKEN_PIPE: Final = 141  # 128 + SIGPIPE
_UNAUTHORIZED: Final = frozenset({401, 403})


class CommandError(Exception):
    """The command cannot go on; the message is for the user."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    It is 0 if all images were classified, 1 if any was not, and 2 for invalid arguments.
    """
    options = _create_parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a label or a name may not fit the encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _classify(options)
        sys.stdout.flush()
    except CommandError as error:
        _print_error(f"prism: {error}")
        return _FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has ended
        # What is buffered must not be written when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    return status


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prism", description="Use the image classifiers of a Prism backend."
    )
    parser.add_argument("--version", action="version", version=f"prism {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    classify = commands.add_parser(
        "classify",
        help="classify image files, and all images in folders",
        description="Classify image files, and all images in folders and their subfolders. Prints "
        "a table, or with --json one JSON object per line. Exits with 1 if an image could not be "
        "classified; the reasons are on the standard error output.",
    )
    classify.add_argument("paths", nargs="+", metavar="FILE", help="image file or folder")
    classify.add_argument(
        "--url",
        default=os.environ.get(URL_VARIABLE, ""),
        help=f"address of the backend, such as http://localhost:8000 (default: {URL_VARIABLE})",
    )
    classify.add_argument(
        "--api-key",
        default=os.environ.get(KEY_VARIABLE, ""),
        metavar="KEY",
        help=f"API key of the backend (default: {KEY_VARIABLE}, which other users of the machine "
        "cannot see)",
    )
    classify.add_argument("--model", metavar="NAME", help="model (default: that of the backend)")
    classify.add_argument(
        "--top-k", type=_top_k, default=1, metavar="N", help="labels per image (default: 1)"
    )
    classify.add_argument("--json", action="store_true", help="print one JSON object per line")
    classify.add_argument(
        "--no-store", action="store_true", help="keep the images out of the backend's history"
    )
    classify.set_defaults(parser=classify)
    return parser


def _classify(options: argparse.Namespace) -> int:
    if not options.url:
        options.parser.error(f"name the backend with --url or {URL_VARIABLE}")
    try:
        client = Client(options.url, api_key=options.api_key or None)
    except ValueError as error:
        options.parser.error(str(error))
    output: Output = JsonLines() if options.json else Table()
    status = 0
    with client:
        _check_backend(client, options.model)
        for path, result in _results(client, options):
            output.write(path, result)
            if not isinstance(result, Classification):
                status = _FAILED
                _print_error(f"{printable(path)}: {_reason(result)}")
    return status if output.count else _FAILED


def _check_backend(client: Client, model: str | None) -> None:
    """Raise CommandError unless the backend responds and serves `model`."""
    try:
        served = client.models()
    except ClientError as error:
        raise CommandError(_explain(client.url, error)) from error
    name = (model or "").partition("@")[0]
    if name and name != "auto" and served.get(name) is None:
        known = ", ".join(each.name for each in served.models)
        raise CommandError(f"{client.url} does not serve the model {name!r}, only {known}")


def _results(client: Client, options: argparse.Namespace) -> Iterator[FileResult]:
    try:
        yield from client.classify_files(
            _find_files(options.paths),
            model=options.model,
            top_k=options.top_k,
            store=not options.no_store,
            on_wait=_print_wait,
        )
    except ClientError as error:
        raise CommandError(_explain(client.url, error)) from error


def _find_files(paths: Sequence[str]) -> Iterator[Path]:
    for text in paths:
        path = Path(text)
        if not path.is_dir():
            yield path
            continue
        is_empty = True
        for image in find_images(path):
            is_empty = False
            yield image
        if is_empty:
            _print_error(f"{printable(path)}: contains no images")


def _explain(url: str, error: ClientError) -> str:
    """Return what failed, for an error that ends the command."""
    if isinstance(error, BackendUnreachable):
        problem = "did not respond in time" if error.timed_out else "cannot be reached"
        return f"{url} {problem}. Is the backend running at this address?"
    if isinstance(error, InvalidResponse) or (
        isinstance(error, BackendError) and not error.code and error.status < 500
    ):
        return f"{url} is not a Prism backend: {_reason(error)}"
    if isinstance(error, BackendError) and error.status in _UNAUTHORIZED:
        return f"{url}: {_reason(error)} Set {KEY_VARIABLE} to a key, or use --api-key."
    return f"{url}: {_reason(error)}"


def _reason(error: ClientError) -> str:
    if isinstance(error, BackendError):
        return error.detail or f"{error.status} {error.title}".strip()
    return str(error)


def _print_wait(error: ClientError, seconds: float) -> None:
    _print_error(f"{_reason(error)} Trying again in {seconds:.0f} s.")


def _print_error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _top_k(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 10_000:
        raise argparse.ArgumentTypeError("must be a number from 1 to 10000")
    return int(text)
