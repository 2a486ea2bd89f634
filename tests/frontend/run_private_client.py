"""Send requests to a private backend in a separate process, and print the results as JSON.

Google's library reads the address of the metadata server on import. Each line of the standard
input triggers one request; all share one IdTokenAuth.
"""

import json
import sys
import time

from client import BackendError, Client
from frontend.service.identity import IdTokenAuth

url, audience = sys.argv[1:]
auth = IdTokenAuth(audience)
with Client(url, auth=auth) as client:
    for _ in sys.stdin:
        started = time.monotonic()
        try:
            result: str | int = len(client.models().models)
        except BackendError as error:
            result = f"status {error.status}"
        print(json.dumps({"result": result, "seconds": time.monotonic() - started}), flush=True)
