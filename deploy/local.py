"""Start backend and frontend on this machine and print their addresses, for `make run`.

python -m deploy.local --backend-port 8000 --frontend-port 8501

Both listen on the loopback interface only. Ctrl-C stops both.
"""

import signal
import sys

if __name__ == "__main__":
    if sys.platform == "win32":
        sys.exit("error: Prism needs Linux or macOS; on Windows, run it in WSL or in containers")
    # Ctrl-C during the following imports ends this process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from deploy.services import main

    sys.exit(main())
