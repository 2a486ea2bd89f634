"""`python -m backend` runs the backend.

Every worker process imports this module again, so that it imports nothing at the top that is slow.
"""

import gc
import signal
import sys

# Nearly all objects that imports create are permanent: collections in between take a tenth of the
# time of the start. `backend.server.entrypoint` enables them again.
gc.disable()

# Ctrl-C during the imports below ends the process without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

if __name__ == "__main__":
    if sys.platform == "win32":
        sys.exit("error: the backend needs Linux or macOS; on Windows, use WSL or a container")
    # `backend.server.reloading` handles it later.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    from backend.server.entrypoint import main

    main()
