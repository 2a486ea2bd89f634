"""Fill in the substitutions of cloudbuild.yaml as Cloud Build does."""

import re
from collections.abc import Mapping
from typing import Any

BUILTIN = {
    "PROJECT_ID": "demo",
    "PROJECT_NUMBER": "123456789012",
    "COMMIT_SHA": "0123abc",
}

_SUBSTITUTION = re.compile(r"\$\$|\$(?:\{(\w+)\}|([A-Z_]+))")


def substitute(build: Mapping[str, Any]) -> dict[str, Any]:
    """Return the build with values in place of substitutions; raise KeyError for unknown ones."""
    values = {**BUILTIN, **build["substitutions"]}

    def fill(node: Any) -> Any:
        if isinstance(node, dict):
            return {name: fill(value) for name, value in node.items()}
        if isinstance(node, list):
            return [fill(value) for value in node]
        if not isinstance(node, str):
            return node
        return _SUBSTITUTION.sub(
            lambda m: "$" if m[0] == "$$" else fill(values[m[1] or m[2]]), node
        )

    return {name: fill(value) for name, value in build.items() if name != "substitutions"}
