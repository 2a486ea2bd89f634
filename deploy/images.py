"""The two services as images: what they are built from, and how they are run on trial."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Part:
    """One of the two services, and how it is run."""

    name: str
    port: int  # within its container, and not the one that its image says
    memory: str
    health: str

    @property
    def image(self) -> str:
        """The name of its image."""
        return f"prism-{self.name}"

    @property
    def container(self) -> str:
        """The name of its container."""
        return f"{self.image}-trial"

    @property
    def dockerfile(self) -> str:
        """What its image is built from."""
        return f"{self.name}.dockerfile"

    @property
    def health_command(self) -> list[str]:
        """What its HEALTHCHECK runs; of the file, as not every format of an image keeps it."""
        text = (ROOT / self.dockerfile).read_text()
        found = re.search(r"^HEALTHCHECK .*?CMD (\[.*?\])$", text, re.M | re.S)
        if not found:
            raise ValueError(f"{self.dockerfile} has no HEALTHCHECK with a list of words")
        command: list[str] = json.loads(found[1])
        return command


# Cloud Run's port for the backend; the page shares its network, so has another.
BACKEND = Part("backend", 8080, "512m", "/ready")
FRONTEND = Part("frontend", 8081, "1g", "/_stcore/health")
