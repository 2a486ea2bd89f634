"""The page's server: the navigation script, its downloads, and its bounds and headers.

.venv/bin/python -m streamlit run frontend/app.py
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.middleware import Middleware
from streamlit.starlette import App

from frontend.server.downloads import ROUTES
from frontend.server.security_headers import SecurityHeadersMiddleware
from frontend.server.upload_memory import UploadMemoryMiddleware
from frontend.service import access, logs, tracing
from frontend.state import page_jobs, store_settings

STOP_JOBS_WITHIN = 7.0  # s; Cloud Run ends the process 10 s after SIGTERM


@asynccontextmanager
async def lifespan(_: App) -> AsyncIterator[dict[str, Any]]:
    """At the end, stop the jobs, so that their partial results are stored."""
    yield {}
    await asyncio.to_thread(page_jobs.jobs().interrupt, STOP_JOBS_WITHIN)


try:
    access.check_settings()
    logs.configure()
    store_settings.start()
except ValueError as error:
    sys.exit(f"error: {error}")
tracing.start()
app = App(
    "navigation.py",
    routes=ROUTES,
    lifespan=lifespan,
    middleware=[Middleware(SecurityHeadersMiddleware), Middleware(UploadMemoryMiddleware)],
)
