"""`python -m backend`: the backend alone."""

import sys
import warnings

import uvicorn
from pydantic import ValidationError

from backend.app import create_app
from backend.inference.errors import ArtifactError
from backend.settings import Settings
from backend.telemetry import logs

_GRACE = 4  # seconds that a client who dawdles can hold up the end


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; exit with one line where a setting is wrong."""
    warnings.filterwarnings("ignore", module="PIL")
    try:
        settings = Settings()
        logs.configure(settings.log_format, settings.log_level)
        app = create_app(settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        variable = name if name == "PORT" else f"PRISM_{name.upper()}"
        sys.exit(f"error: {variable}={first['input']}: {first['msg']}")
    except ArtifactError as error:
        sys.exit(f"error: {error}")
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,  # its records go where ours do
        access_log=False,  # the application writes its own, without queries
        timeout_graceful_shutdown=_GRACE,
    )


if __name__ == "__main__":
    main()
