"""Each requirements file lists all imports of its code, with lower and upper bounds."""

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FIRST_PARTY = {
    "backend",
    "benchmarks",
    "bulk",
    "calibration",
    "client",
    "deploy",
    "evaluation",
    "frontend",
    "teach",
    "tests",
    "training",
}
# Imported only for the torch runtime, a bare checkpoint or a gs:// address.
OPTIONAL = {"torch", "safetensors", "google-cloud-storage", "google-api-core", "google-auth"}
# Installed only in the environment of the benchmark; distribution and module have the same name.
PEERS = {"bentoml", "litserve", "mosec", "pillow_heif"}
# Installed in environments of their own: by tests, and to convert models.
OWN_ENVIRONMENTS = {
    "cloudcoil",
    "flatbuffers",
    "googleapiclient",
    "h5py",
    "keras",
    "kserve",
    "tensorflow",
    "tf2onnx",
    "tf_keras",
}
# Installed in folders of their own beside it, by requirements/peer-NAME.txt.
SEPARATE_PEERS = {"gradio", "ray"}
# A runtime that requirements/openvino.txt adds; distribution and module have the same name.
PART_OF_MLFLOW = {"mlflow-skinny"}  # both contain the package that is imported
OPENVINO = {"openvino"}
# Imported only if OpenTelemetry's environment variables enable traces.
TRACING = {
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
}
# Imported only if PRISM_GRPC_PORT is set.
GRPC = {"grpcio", "grpcio-health-checking", "protobuf"}
# Imported only if PRISM_PROTOCOLS contains mcp.
MCP = {"mcp", "mcp-types"}
# Imported only by the asynchronous client.
ASYNC_CLIENT = {"httpx2"}
NAMESPACES = {"google", "google.cloud", "opentelemetry"}
MINIMUM_VERSIONS = {  # without known vulnerabilities
    "starlette": "1.6",
    "python-multipart": "0.0.32",
    "pillow": "13",
    "h11": "0.16",
    "urllib3": "2.6",
    "filelock": "3.20.1",
    "streamlit": "1.67",
}


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


INSTALLED = {normalize(dist.name) for dist in distributions()}


def requirements(file: str) -> dict[str, str]:
    """Return the version bounds by distribution in `file` and the files that it includes."""
    bounds: dict[str, str] = {}
    for line in (ROOT / file).read_text().splitlines():
        text = line.split("#")[0].strip()
        if text.startswith("-r"):
            included = (ROOT / file).parent / text.removeprefix("-r").strip()
            bounds |= requirements(os.path.relpath(included, ROOT))
        elif text:
            name, rest = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?(.*)", text).groups()  # type: ignore[union-attr]
            bounds[normalize(name)] = rest
    return bounds


def distribution(module: str, packages: Mapping[str, Sequence[str]]) -> str:
    """Return the distribution of `module`; several share `google` and `opentelemetry`."""
    first, *rest = module.split(".")
    if module.startswith("google.protobuf"):
        return "protobuf"
    if first == "google":
        depth = 3 if rest[:1] == ["cloud"] else 2
        name = "-".join(module.replace("_", "-").split(".")[:depth])
        name = name.removesuffix("-v2")  # the version of the API
        return "google-auth" if name == "google-oauth2" else name
    if first in PEERS | SEPARATE_PEERS | OPENVINO:
        return normalize(first)
    if first == "opentelemetry":
        names = (
            normalize(f"{first}-{'-'.join(rest[:depth])}") for depth in range(len(rest), 0, -1)
        )
        return next((name for name in names if name in INSTALLED), "opentelemetry-api")
    assert first in packages, f"{first} is not installed"
    return normalize(packages[first][0])


def imported_distributions(files: Iterable[Path]) -> Iterator[str]:
    """Yield the distributions of all third-party imports in `files`."""
    packages = packages_distributions()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                # The members of a namespace are separate packages: `from google.cloud import x`.
                parts = [alias.name for alias in node.names] if node.module in NAMESPACES else [""]
                names = [f"{node.module}.{part}".rstrip(".") for part in parts]
            for name in names:
                if (
                    name.split(".")[0]
                    not in FIRST_PARTY | OWN_ENVIRONMENTS | sys.stdlib_module_names
                ):
                    yield distribution(name, packages)


@pytest.mark.parametrize(
    ("file", "folders"),
    [
        ("requirements/serving.txt", ["backend"]),
        ("requirements_frontend.txt", ["frontend", "client"]),
        ("requirements/run.txt", ["deploy"]),
        ("requirements/evaluation.txt", ["evaluation"]),
        ("requirements/teach.txt", ["teach", "calibration", "client"]),
        ("requirements/bulk.txt", ["bulk"]),
        ("requirements/benchmarks.txt", ["benchmarks/serving"]),
        (
            "requirements/dev.txt",
            [
                "backend",
                "benchmarks/load",
                "bulk",
                "calibration",
                "client",
                "deploy",
                "evaluation",
                "frontend",
                "teach",
                "tests",
                "training",
            ],
        ),
    ],
)
def test_all_imports_are_listed(file: str, folders: list[str]) -> None:
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    optional = {
        "requirements/serving.txt": OPTIONAL | TRACING | OPENVINO | GRPC | MCP,
        "requirements_frontend.txt": ASYNC_CLIENT | TRACING - {"opentelemetry-api"},
        "requirements/run.txt": {"ray"},  # deploy/ray_serve.py
        "requirements/teach.txt": ASYNC_CLIENT | TRACING,
        "requirements/bulk.txt": {"ray", "scikit-learn"},  # --ray, --labels
        "requirements/dev.txt": OPENVINO | PART_OF_MLFLOW | {"ray"},
        "requirements/benchmarks.txt": SEPARATE_PEERS,
    }.get(file, set())
    assert set(imported_distributions(sources)) - optional <= set(requirements(file))


def test_serving_and_running_do_not_require_torch() -> None:
    for file in ("requirements/serving.txt", "requirements/run.txt"):
        assert not {"torch", "torchvision"} & set(requirements(file))
    assert {"torch", "torchvision"} <= set(requirements("requirements_backend.txt"))


def test_tracing_requirements_are_listed() -> None:
    assert set(requirements("requirements/otel.txt")) == TRACING


def test_grpc_requirements_are_listed() -> None:
    assert set(requirements("requirements/grpc.txt")) == GRPC


@pytest.mark.parametrize(
    "file",
    sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("requirements*/*.txt"))
    + sorted(path.name for path in ROOT.glob("requirements_*.txt")),
)
def test_requirements_have_lower_and_upper_bounds(file: str) -> None:
    is_pinned = file == "requirements/tensorflow-converter.txt"  # an environment of its own
    pattern = r"==[\d.]+" if is_pinned else r">=[\d.]+,<\d"
    for name, bounds in requirements(file).items():
        assert re.match(pattern, bounds), f"{name} has no lower or no upper bound"
        if name in MINIMUM_VERSIONS:
            assert bounds.startswith(f">={MINIMUM_VERSIONS[name]},"), name
