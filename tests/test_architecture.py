"""Imports point one way; a new arrow has to be argued for here first."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = (
    "backend",
    "bench",
    "client",
    "evaluation",
    "frontend",
    "load",
    "training",
    "deploy",
    "tests",
)

# Lower rooms know nothing of higher ones.
LAYERS = (
    ("backend.inference.errors", "backend.inference.types", "backend.inference.observer"),
    (
        "backend.inference.images.jpeg",
        "backend.inference.images.loading",
        "backend.inference.preprocessing.morphology",
        "backend.inference.preprocessing.ruled_lines",
        "backend.inference.preprocessing.page_detection",
        "backend.inference.preprocessing.segmentation",
        "backend.inference.preprocessing.digits",
        "backend.inference.preprocessing.photos",
        "backend.inference.preprocessing.preprocess",
        "backend.inference.models.torchvision_compat",
        "backend.inference.models.checkpoint",
        "backend.inference.models.networks",
        "calibration.apply",
        "backend.inference.batcher",
        "backend.inference.images.memory_budget",
        "backend.inference.images.image_reader",
        "backend.resources.cgroup",
        "backend.resources.memory",
        "backend.inference.models.weights",
        "backend.inference.models.artifact",
        "backend.inference.models.checkpoint",
        "backend.inference.runtimes",
        "backend.resources.cpus",
        "backend.inference.observer",
        "backend.inference.admission",
        "backend.inference.autotune",
        "backend.inference.decoder",
        "backend.inference.preprocessing.model_input",
    ),
    ("backend.inference.engine",),
    ("backend.inference.classifier",),
    ("backend.sources",),
    ("backend.catalog", "backend.history", "backend.settings", "backend.telemetry"),
    ("backend.api",),
    ("backend.app", "backend.server.sockets"),
    ("backend.server.connections",),
    ("backend.server.lifecycle", "backend.server.workers"),
    ("backend.server.main",),
    ("backend.__main__",),
)

MAY_IMPORT = {
    "backend": {"backend"},
    "bench": {"bench"},
    "client": {"client"},
    "evaluation": {"evaluation", "backend", "client"},
    "frontend": {"frontend", "client", "evaluation"},
    "training": {"training", "backend", "evaluation"},
    "deploy": {"deploy", "client"},
    "load": {"load", "deploy", "client"},
}

# Of the evaluation only the predictors may, each its own, and only the command line wires them in.
PREDICTORS = {"backend": "evaluation.predictors.local", "client": "evaluation.predictors.served"}
WIRING = {"evaluation.commands", "evaluation.predictors.addresses"}

WEB = {"fastapi", "starlette", "uvicorn", "pydantic_settings"}
TORCH_ROOMS = {
    "backend.inference.models.checkpoint",
    "backend.inference.models.networks",
    "backend.inference.models.torchvision_compat",
    "backend.inference.runtimes.torch_runtime",
}


def modules(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = ast.iter_child_nodes(tree) if top_level else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def layer(name: str) -> int | None:
    for number, rooms in enumerate(LAYERS):
        if any(name == room or name.startswith(f"{room}.") for room in rooms):
            return number
    return None


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_a_package_imports_only_what_it_may(package: str) -> None:
    forbidden = set(PACKAGES) - MAY_IMPORT[package]
    for name, path in modules(package):
        wrong = {found for found in imports(path) if found.split(".")[0] in forbidden}
        assert not wrong, f"{name} imports {wrong}"


def test_the_backends_rooms_know_nothing_of_those_above() -> None:
    for name, path in modules("backend"):
        here = layer(name)
        if here is None:
            assert name in {"backend", "backend.inference"}, f"{name} has no place in LAYERS"
            continue
        for found in imports(path):
            there = layer(found)
            assert there is None or there <= here, f"{name} imports {found}"


def test_the_core_knows_no_web_framework_and_no_settings() -> None:
    for name, path in modules("backend/inference"):
        assert not {found.split(".")[0] for found in imports(path)} & WEB, name


def test_torch_is_imported_in_its_rooms_only() -> None:
    for name, path in modules("backend"):
        if name not in TORCH_ROOMS:
            top = {found.split(".")[0] for found in imports(path, top_level=True)}
            assert not {"torch", "torchvision"} & top, name


def test_the_batcher_knows_only_a_callable() -> None:
    ours = {found for found in imports(ROOT / "backend/inference/batcher.py") if "backend" in found}
    known = tuple(f"backend.inference.{room}" for room in ("errors", "types", "observer"))
    assert all(found.startswith(known) for found in ours)


def test_what_measures_knows_neither_backend_nor_client_nor_torch() -> None:
    for name, path in modules("evaluation"):
        found = imports(path)
        for package, predictor in PREDICTORS.items():
            ours = {one for one in found if one.split(".")[0] == package}
            assert not ours or name == predictor, f"{name} imports {ours}"
            assert predictor not in found or name in WIRING, f"{name} imports {predictor}"
        if name not in {"evaluation.cli", "evaluation.__main__"}:
            assert "evaluation.commands" not in found, f"{name} imports the command line"
        assert not {"torch", "torchvision"} & {one.split(".")[0] for one in found}, name


@pytest.mark.parametrize("name", ["discovery.py", "cloud_run.py", "identity.py"])
def test_streamlit_stays_out_of_finding_the_backend(name: str) -> None:
    assert "streamlit" not in imports(ROOT / "frontend" / name)


def test_the_libraries_of_google_load_only_when_they_are_needed() -> None:
    for name, path in modules("frontend"):
        eager = {found.split(".")[0] for found in imports(path, top_level=True)}
        assert not {"google", "grpc"} & eager, name


def test_sqlalchemy_is_imported_late_and_in_its_rooms_only() -> None:
    """It takes a third of a second: the thread that needs it imports them all."""
    rooms = {f"backend.history.{room}" for room in ("store", "database", "inserts")}
    rooms |= {f"backend.history.{room}" for room in ("queries", "tables", "migrate", "migrations")}
    for name, path in modules("backend"):
        if not name.startswith(tuple(rooms)):
            eager = imports(path, top_level=True)
            assert not {"sqlalchemy", "alembic", "psycopg"} & {one.split(".")[0] for one in eager}
            assert not eager & rooms, f"{name} imports SQLAlchemy"
