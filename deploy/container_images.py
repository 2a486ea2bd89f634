"""The container images of both services, and how the container trial runs them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Service:
    """One of the two services, and how it is run."""

    name: str
    port: int  # in the container; differs from the default of the image
    memory: str
    health: str

    @property
    def image(self) -> str:
        """The name of the image."""
        return f"prism-{self.name}"

    @property
    def container(self) -> str:
        """The name of the container."""
        return f"{self.image}-trial"

    @property
    def dockerfile(self) -> str:
        """The Dockerfile of the image."""
        return f"{self.name}.dockerfile"

    @property
    def health_command(self) -> list[str]:
        """The command of HEALTHCHECK, read from the Dockerfile: some image formats drop it."""
        text = (ROOT / self.dockerfile).read_text()
        match = re.search(r"^HEALTHCHECK .*?CMD (\[.*?\])$", text, re.M | re.S)
        if not match:
            raise ValueError(f"{self.dockerfile} has no HEALTHCHECK in exec form")
        command: list[str] = json.loads(match[1])
        return command


# The frontend shares the backend's network and needs another port.
BACKEND = Service("backend", 8080, "512m", "/ready")
FRONTEND = Service("frontend", 8081, "1g", "/_stcore/health")
