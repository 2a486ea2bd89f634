"""docs/evaluation.md documents every option; tests/e2e runs its commands and its code."""

import re

from evaluation.cli import create_parser
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "evaluation.md").read_text()


def test_all_options_are_documented() -> None:
    options = {option for action in create_parser()._actions for option in action.option_strings}
    documented = set(re.findall(r"--[a-z][a-z-]+", TEXT))
    assert options - {"-h", "--help"} == documented
