"""Validate files against published schemas."""

import subprocess
import sys
from pathlib import Path


def schema_errors(schema: str, file: Path) -> str:
    """Return what check-jsonschema reports for `file`; empty where it is valid."""
    check = str(Path(sys.executable).with_name("check-jsonschema"))
    command = [check, "--builtin-schema", schema, str(file)]
    result = subprocess.run(command, capture_output=True, text=True)
    return "" if result.returncode == 0 else result.stdout + result.stderr
