"""`python -m backend` runs the backend.

Every worker process imports this module again, so that it imports nothing at the top that is slow.
"""

import signal

# Ctrl-C during the imports below ends the process without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

if __name__ == "__main__":
    from backend.server.entrypoint import main

    main()
