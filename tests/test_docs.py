"""The documentation lists all settings, routes and error codes, and its links are valid."""

import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from backend.api.errors import ERROR_TABLE
from backend.app import create_app
from backend.settings import Settings
from tests.fake_models import write_model

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def variable_name(name: str, field: FieldInfo) -> str:
    return str(field.validation_alias or f"PRISM_{name.upper()}")


def default_text(field: FieldInfo) -> str:
    if field.default_factory:
        return "by system"
    return f"`{field.default}`" if str(field.default) else "empty"


def test_settings_page_lists_all_settings() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    section = text.split("## Backend")[1].split("\n## ")[0]
    _, _, *rows = [line for line in section.splitlines() if line.startswith("|")]
    expected = [
        f"| `{variable_name(name, field)}` | {default_text(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    assert rows == expected


def test_api_page_lists_all_routes_and_error_codes(tmp_path: Path) -> None:
    write_model(tmp_path)
    text = (ROOT / "docs" / "api.md").read_text()
    app = create_app(Settings(models_dir=tmp_path))
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in text
    for status, code in ERROR_TABLE.values():
        assert f"| {status} | `{code}` |" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_are_valid(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        target, _, anchor = link.partition("#")
        if target.startswith("http"):
            continue
        assert (page.parent / target).exists() if target else True, link
        if anchor:
            headings = re.findall(
                r"^#+ (.*)$", (page.parent / target if target else page).read_text(), re.M
            )
            slugs = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake ([a-z]+)\b(?=[^.]*`|\s+[A-Z_]+=|\s*#)", page.read_text())) <= (
        targets
    )
