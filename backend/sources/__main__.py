"""`python -m backend.sources`: reads a `FetchRequest` as a line of JSON, prints a `FetchResult`."""

import logging
import os
import sys
from threading import Thread

from backend.inference.errors import ModelError
from backend.sources.fetch import FetchRequest, FetchResult, fetch


def main() -> None:
    """Fetch the requested model; exit at once if the parent process ends."""
    request = FetchRequest.model_validate_json(sys.stdin.buffer.readline())
    Thread(target=_exit_with_parent, daemon=True).start()
    try:
        result = FetchResult(fetched=fetch(request))
    except ModelError as error:
        result = FetchResult(error=str(error))
    except OSError as error:
        result = FetchResult(error=f"PRISM_DATA_DIR cannot be used ({error.strerror})")
    except Exception:
        logging.exception("fetching %s failed", request.address.redacted)
        result = FetchResult(
            error=f"{request.address.redacted}: failed; see the log of the service"
        )
    print(result.model_dump_json(), flush=True)
    os._exit(0)  # without waiting for threads of the clients


def _exit_with_parent() -> None:
    os.read(0, 1)  # returns when the parent closes the pipe or dies
    os._exit(1)


if __name__ == "__main__":
    main()
