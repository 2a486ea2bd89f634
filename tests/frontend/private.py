"""Asks a private backend in a process of its own, as the page does, and prints what happened.

Google's library reads where the metadata server is when it is imported. For each line of the
standard input the backend at the address given is asked once, with one Identity for all.
"""

import json
import sys
import time

from client import BackendError, Client
from frontend.service.identity import Identity

url, audience = sys.argv[1:]
identity = Identity(audience)
with Client(url, auth=identity) as client:
    for _ in sys.stdin:
        began = time.monotonic()
        try:
            said: str | int = len(client.models().models)
        except BackendError as error:
            said = f"status {error.status}"
        print(json.dumps({"said": said, "seconds": time.monotonic() - began}), flush=True)
