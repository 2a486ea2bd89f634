"""Entry point of `python -m bulk`."""

import signal
import sys

if __name__ == "__main__":
    # Ctrl-C during the following imports ends the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from bulk.cli import main

    sys.exit(main())
