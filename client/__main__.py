"""`python -m client`, or `python -m prism_client` once installed."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
