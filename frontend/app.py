"""The page's server: the navigation script, its downloads, and its bounds and headers.

.venv/bin/python -m streamlit run frontend/app.py
"""

import sys

from starlette.middleware import Middleware
from streamlit.starlette import App

from frontend.server.downloads import ROUTES
from frontend.server.security_headers import SecurityHeadersMiddleware
from frontend.server.upload_memory import UploadMemoryMiddleware
from frontend.service import access, logs, tracing

try:
    access.check_settings()
    logs.configure()
except ValueError as error:
    sys.exit(f"error: {error}")
tracing.start()
app = App(
    "navigation.py",
    routes=ROUTES,
    middleware=[Middleware(SecurityHeadersMiddleware), Middleware(UploadMemoryMiddleware)],
)
