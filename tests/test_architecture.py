"""Imports point one way; the rules are stated by folder."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Which of our top-level packages each package may import.
MAY_IMPORT = {
    "backend": {"backend", "calibration"},
    "benchmarks": {"benchmarks", "backend", "bulk", "calibration", "client", "deploy"},
    "bulk": {"bulk", "backend", "calibration", "evaluation"},
    "calibration": {"calibration"},
    "client": {"client"},
    "deploy": {"deploy", "backend", "client"},
    "evaluation": {"evaluation", "backend", "client"},
    "frontend": {"frontend", "client", "evaluation", "teach"},
    "teach": {"teach", "backend", "calibration", "client", "evaluation"},
    "training": {"training", "backend", "calibration", "evaluation", "teach"},
}
PACKAGES = {*MAY_IMPORT, "tests"}

# A module imports from its own layer and from the layers above it in this list.
BACKEND_LAYERS = (
    (
        "backend.resources",
        "backend.inference.errors",
        "backend.inference.types",
        "backend.inference.observer",
    ),
    ("backend.inference.images",),
    ("backend.inference.preprocessing",),
    ("backend.inference.models",),
    ("backend.inference.runtimes",),
    (
        "backend.inference.decoder",
        "backend.inference.fair_queue",
        "backend.inference.batcher",
        "backend.inference.loop_batcher",
        "backend.inference.admission",
        "backend.inference.tracking",
        "backend.inference.large_images",
        "backend.inference.autotune",
        "backend.inference.comparison",
        "backend.inference.probes",
        "backend.inference.engine",
        "backend.inference.occlusion",
        "backend.inference.explain",
        "backend.inference.labeling",
    ),
    ("backend.inference.classifier", "backend.inference.head_export"),
    ("backend.inference.head_classifier",),
    ("backend.inference.auto",),
    ("backend.sources",),
    ("backend.registry",),
    (
        "backend.catalog",
        "backend.history",
        "backend.keys",
        "backend.models_folder",
        "backend.served_model",
        "backend.settings",
        "backend.shadows",
        "backend.taught_models",
        "backend.telemetry",
    ),
    ("backend.api",),
    ("backend.app",),
    ("backend.server",),
    ("backend.__main__",),
)
FRONTEND_LAYERS = (
    ("frontend.examples", "frontend.ui"),
    ("frontend.state",),
    ("frontend.service",),
    ("frontend.datasets",),
    ("frontend.views",),
    ("frontend.sidebar",),
    ("frontend.navigation",),
    ("frontend.server",),
    ("frontend.app",),
)

# In evaluation only the predictors import the backend and the client, each its own.
PREDICTORS = {"backend": "evaluation.predictors.local", "client": "evaluation.predictors.served"}

CLIENTS_OF_TEACH = {"teach.cli", "teach.served_embedding"}

WEB_FRAMEWORKS = {"fastapi", "starlette", "uvicorn", "pydantic_settings"}
TORCH_FOLDERS = ("backend.inference.models", "backend.inference.runtimes.torch_runtime")
SQLALCHEMY_MODULES = ("store", "database", "inserts", "queries", "tables", "migrations")


def modules(folder: str) -> Iterator[tuple[str, Path]]:
    """Yield the dotted name and the path of every module below `folder`."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    """Return the names that a module imports, anywhere or only when it is imported itself."""
    tree = ast.parse(path.read_text())
    nodes = ast.iter_child_nodes(tree) if top_level else ast.walk(tree)
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def packages(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def is_below(name: str, folders: tuple[str, ...]) -> bool:
    return any(name == folder or name.startswith(f"{folder}.") for folder in folders)


def layer(name: str, layers: tuple[tuple[str, ...], ...]) -> int | None:
    return next((n for n, folders in enumerate(layers) if is_below(name, folders)), None)


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_package_imports_only_allowed_packages(package: str) -> None:
    forbidden = PACKAGES - MAY_IMPORT[package]
    for name, path in modules(package):
        assert not packages(imports(path)) & forbidden, name


@pytest.mark.parametrize(
    ("package", "layers"), [("backend", BACKEND_LAYERS), ("frontend", FRONTEND_LAYERS)]
)
def test_imports_within_a_package_point_down(
    package: str, layers: tuple[tuple[str, ...], ...]
) -> None:
    for name, path in modules(package):
        own = layer(name, layers)
        if own is None:
            assert name in {"backend", "backend.inference", "frontend"}, f"{name} has no layer"
            continue
        for imported in imports(path):
            other = layer(imported, layers)
            assert other is None or other <= own, f"{name} imports {imported}"


def test_views_never_import_each_other() -> None:
    for name, path in modules("frontend/views"):
        view = name.split(".")[2:3]
        for imported in imports(path):
            if imported.startswith("frontend.views."):
                assert imported.split(".")[2:3] == view, f"{name} imports {imported}"


def test_core_imports_no_web_framework() -> None:
    for folder in ("backend/inference", "backend/resources", "calibration"):
        for name, path in modules(folder):
            assert not packages(imports(path)) & WEB_FRAMEWORKS, name


def test_backend_imports_torch_only_where_it_is_used() -> None:
    for name, path in modules("backend"):
        if not is_below(name, TORCH_FOLDERS):
            assert not packages(imports(path, top_level=True)) & {"torch", "torchvision"}, name


def test_backend_imports_sqlalchemy_late() -> None:
    """Importing it takes a third of a second: only the writer thread imports its modules."""
    eager = tuple(f"backend.history.{module}" for module in SQLALCHEMY_MODULES)
    for name, path in modules("backend"):
        if not is_below(name, eager):
            found = imports(path, top_level=True)
            assert not packages(found) & {"sqlalchemy", "alembic", "psycopg"}, name
            assert not found & set(eager), name


def test_evaluation_imports_backend_and_client_only_in_its_predictors() -> None:
    for name, path in modules("evaluation"):
        found = imports(path)
        assert not packages(found) & {"torch", "torchvision"}, name
        for package, predictor in PREDICTORS.items():
            assert package not in packages(found) or name == predictor, f"{name} imports {package}"


def test_teach_imports_backend_and_client_only_in_its_embeddings() -> None:
    for name, path in modules("teach"):
        found = imports(path)
        assert not packages(found) & {"torch", "torchvision"}, name
        assert "backend" not in packages(found) or name == "teach.local_embedding", name
        assert "client" not in packages(found) or name in CLIENTS_OF_TEACH, name
        assert "teach.local_embedding" not in imports(path, top_level=True), name


def test_backend_access_of_the_frontend_imports_no_streamlit() -> None:
    for module in ("discovery", "cloud_run", "identity", "predictions", "errors"):
        path = ROOT / "frontend" / "service" / f"{module}.py"
        assert "streamlit" not in packages(imports(path)), module


def test_frontend_imports_google_libraries_late() -> None:
    for name, path in modules("frontend"):
        assert not packages(imports(path, top_level=True)) & {"google", "grpc"}, name
