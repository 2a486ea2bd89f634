"""`python -m backend`: the backend alone.

Every worker process imports this file again: what is heavy is imported by the one that needs it.
"""

import signal

# A Ctrl-C during the imports that follow ends the process quietly, without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

if __name__ == "__main__":
    from backend.server.entrypoint import main

    main()
