"""Find the backend in a separate process, and print the result as JSON.

ADMIN_API is the address of a fake Admin API; by default Google's is called.
"""

import json
import os
import time
from typing import TYPE_CHECKING

from frontend.service import cloud_run
from frontend.service.discovery import find_backend

if TYPE_CHECKING:
    from google.cloud.run_v2 import ServicesClient


def connect() -> "ServicesClient":
    """Return a client that sends the credentials of the environment to ADMIN_API.

    The imports are local as in the real one, after the timeouts of google-auth are set.
    """
    import grpc
    from google.cloud.run_v2 import ServicesClient
    from google.cloud.run_v2.services.services.transports import ServicesGrpcTransport

    local = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
    transport = ServicesGrpcTransport(host=os.environ["ADMIN_API"], ssl_channel_credentials=local)
    return ServicesClient(transport=transport)


if "ADMIN_API" in os.environ:
    cloud_run.connect = connect
cloud_run.STEP_TIMEOUT = 30.0  # importing the libraries takes long on a busy machine
started = time.monotonic()
found = find_backend(os.environ)
result = {"url": found.url, "source": found.source, "warnings": found.warnings}
print(json.dumps({**result, "seconds": time.monotonic() - started}))
