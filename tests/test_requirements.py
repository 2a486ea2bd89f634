"""Each requirements file names what the code it is for imports; serving needs no torch."""

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {
    "backend",
    "benchmarks",
    "calibration",
    "client",
    "deploy",
    "evaluation",
    "frontend",
    "tests",
    "training",
}
# Imported only where the torch runtime, a bare checkpoint or a gs:// address asks for it.
ON_REQUEST = {"torch", "safetensors", "google-cloud-storage", "google-api-core", "google-auth"}
# Installed in the benchmark's own environment only, each under the name that is imported.
PEERS = {"bentoml", "litserve"}
# Imported only where OpenTelemetry's variables ask for traces.
TRACES = {
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
}
NAMESPACES = {"google", "google.cloud", "opentelemetry"}
FLOORS = {
    "starlette": "1.6",
    "python-multipart": "0.0.32",
    "pillow": "13",
    "h11": "0.16",
    "urllib3": "2.6",
    "filelock": "3.20.1",
    "streamlit": "1.67",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


INSTALLED = {normal(dist.name) for dist in distributions()}


def named(file: str) -> dict[str, str]:
    """Distribution -> the rest of its line, in `file` and the files it includes."""
    found: dict[str, str] = {}
    for line in (ROOT / file).read_text().splitlines():
        text = line.split("#")[0].strip()
        if text.startswith("-r"):
            included = (ROOT / file).parent / text.removeprefix("-r").strip()
            found |= named(os.path.relpath(included, ROOT))
        elif text:
            name, rest = re.fullmatch(r"([\w.-]+)(.*)", text).groups()  # type: ignore[union-attr]
            found[normal(name)] = rest
    return found


def distribution(module: str, packages: Mapping[str, Sequence[str]]) -> str:
    """What `module` is installed with; many share the packages `google` and `opentelemetry`."""
    first, *rest = module.split(".")
    if first == "google":
        depth = 3 if rest[:1] == ["cloud"] else 2
        name = "-".join(module.replace("_", "-").split(".")[:depth])
        name = name.removesuffix("-v2")  # the version of an API, not of its package
        return "google-auth" if name == "google-oauth2" else name
    if first in PEERS:
        return first
    if first == "opentelemetry":
        names = (normal(f"{first}-{'-'.join(rest[:depth])}") for depth in range(len(rest), 0, -1))
        return next((name for name in names if name in INSTALLED), "opentelemetry-api")
    assert first in packages, f"{first} is not installed"
    return normal(packages[first][0])


def imported(files: Iterable[Path]) -> Iterator[str]:
    """Distributions of everything that is imported anywhere in `files` and is not ours."""
    packages = packages_distributions()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                # Of a namespace the parts are packages of their own: `from google.cloud import x`.
                parts = [alias.name for alias in node.names] if node.module in NAMESPACES else [""]
                names = [f"{node.module}.{part}".rstrip(".") for part in parts]
            for name in names:
                if name.split(".")[0] not in OURS | sys.stdlib_module_names:
                    yield distribution(name, packages)


@pytest.mark.parametrize(
    ("file", "folders"),
    [
        ("requirements/serving.txt", ["backend"]),
        ("requirements_frontend.txt", ["frontend", "client"]),
        ("requirements/run.txt", ["deploy"]),
        ("requirements/evaluation.txt", ["evaluation"]),
        ("requirements/benchmarks.txt", ["benchmarks/serving"]),
        (
            "requirements/dev.txt",
            [
                "backend",
                "benchmarks/load",
                "calibration",
                "client",
                "deploy",
                "evaluation",
                "frontend",
                "tests",
                "training",
            ],
        ),
    ],
)
def test_what_is_imported_is_named(file: str, folders: list[str]) -> None:
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    optional = ON_REQUEST | TRACES if file == "requirements/serving.txt" else set()
    assert set(imported(sources)) - optional <= set(named(file))


def test_serving_and_running_need_no_torch() -> None:
    for file in ("requirements/serving.txt", "requirements/run.txt"):
        assert not {"torch", "torchvision"} & set(named(file))
    assert {"torch", "torchvision"} <= set(named("requirements_backend.txt"))


def test_what_traces_import_is_named() -> None:
    assert set(named("requirements/otel.txt")) == TRACES


@pytest.mark.parametrize(
    "file",
    sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("requirements*/*.txt"))
    + ["requirements_backend.txt", "requirements_frontend.txt"],
)
def test_known_holes_stay_closed_and_no_new_major_version_slips_in(file: str) -> None:
    for name, rest in named(file).items():
        assert re.match(r">=[\d.]+,<\d", rest), f"{name} has no floor or no bound"
        if name in FLOORS:
            assert rest.startswith(f">={FLOORS[name]},"), name
