"""`python -m backend.sources`: one `Order` as a line of JSON in, one `Outcome` out."""

import logging
import os
import sys
from threading import Thread

from backend.inference.errors import ModelError
from backend.sources.fetch import Order, Outcome, fetch


def main() -> None:
    """Fetch what is ordered; end at once when the process that ordered it ends."""
    order = Order.model_validate_json(sys.stdin.buffer.readline())
    Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        outcome = Outcome(fetched=fetch(order))
    except ModelError as error:
        outcome = Outcome(error=str(error))
    except OSError as error:
        outcome = Outcome(error=f"PRISM_DATA_DIR cannot be used ({error.strerror})")
    except Exception:
        logging.exception("fetching %s failed", order.address.shown)
        outcome = Outcome(error=f"{order.address.shown}: failed; the service's log says why")
    print(outcome.model_dump_json(), flush=True)
    os._exit(0)  # the clients' threads are waited for no longer than ours


def _end_with_the_parent() -> None:
    os.read(0, 1)  # ends when the parent closes its end, by dying if need be
    os._exit(1)


if __name__ == "__main__":
    main()
