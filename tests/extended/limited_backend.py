"""Run the backend as if its container had MEMORY_LIMIT bytes of memory.

A container's limit is read from its control group, which a test cannot create everywhere. The
limit is only announced here: the tests measure whether the processes stay below it.
"""

import os

from backend import app
from backend.server import entrypoint

if __name__ == "__main__":
    limit = int(os.environ["MEMORY_LIMIT"])
    vars(app)["memory_limit"] = lambda: limit
    entrypoint.main()
