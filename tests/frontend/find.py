"""Finds the backend in a process of its own and prints what it found, as JSON.

ADMIN_API is the address of a stand-in for the Admin API; without it Google's is asked.
"""

import json
import os
import time
from typing import TYPE_CHECKING

from frontend.service import cloud_run
from frontend.service.discovery import find

if TYPE_CHECKING:
    from google.cloud.run_v2 import ServicesClient


def connect() -> "ServicesClient":
    """Return a client that sends the credentials of the environment to ADMIN_API.

    It imports late, as the real one does: before that, the bounds of google-auth are set.
    """
    import grpc
    from google.cloud.run_v2 import ServicesClient
    from google.cloud.run_v2.services.services.transports import ServicesGrpcTransport

    local = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
    transport = ServicesGrpcTransport(host=os.environ["ADMIN_API"], ssl_channel_credentials=local)
    return ServicesClient(transport=transport)


if "ADMIN_API" in os.environ:
    cloud_run.connect = connect
began = time.monotonic()
found = find(os.environ)
seconds = time.monotonic() - began
print(
    json.dumps({"url": found.url, "how": found.how, "troubles": found.troubles, "seconds": seconds})
)
