"""`python -m evaluation`: measure a classifier on labelled pictures."""

import signal
import sys

if __name__ == "__main__":
    # A Ctrl-C during the imports that follow ends this process quietly, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from evaluation.cli import main

    sys.exit(main())
