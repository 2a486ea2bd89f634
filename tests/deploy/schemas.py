"""Files against the schemas that their makers publish."""

import subprocess
import sys
from pathlib import Path


def complaints(schema: str, file: Path) -> str:
    """What check-jsonschema has to say of a file by one of its built-in schemas; empty: nothing."""
    check = str(Path(sys.executable).with_name("check-jsonschema"))
    command = [check, "--builtin-schema", schema, str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = done.stdout + done.stderr
    return said or f"exit status {done.returncode}" if done.returncode else ""
