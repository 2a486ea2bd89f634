"""SECURITY.md names a test for each defense, and all of them exist."""

import ast
import re
from functools import cache

from tests.conftest import ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def functions(file: str) -> set[str]:
    """Return the names of the test functions in a file."""
    path = ROOT / file
    assert path.is_file(), f"{file} does not exist"
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def rows() -> list[str]:
    lines = (ROOT / "SECURITY.md").read_text().splitlines()
    return [line for line in lines if line.startswith("| ") and "---" not in line]


def test_every_named_test_exists() -> None:
    named = NAMED.findall("\n".join(rows()))
    assert len(named) > 30
    missing = [f"{file}::{name}" for file, name in named if name not in functions(file)]
    assert not missing


def test_every_defense_has_a_test() -> None:
    defenses = [row for row in rows() if not row.startswith("| What ")]
    without = [row for row in defenses if not NAMED.search(row.rsplit("|", 2)[1])]
    assert not without
