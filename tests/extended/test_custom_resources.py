"""Custom resources against the schemas that packages of the registries carry."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.extended import environments

PACKAGES = ("kserve", "cloudcoil-models-keda", "google-api-python-client")
FILES = ("kubernetes/autoscaling.yaml", "kserve.yaml", "bulk.job.yaml", "backend.service.yaml",
         "frontend.service.yaml")  # fmt: skip
WRONG = {
    "kubernetes/autoscaling.yaml": ("pollingInterval", "pollingSeconds"),
    "kserve.yaml": ("scaleTarget", "scaleGoal"),
    "bulk.job.yaml": ("taskCount", "tasks"),
    "backend.service.yaml": ("containerConcurrency", "concurrency"),
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the packages."""
    return environments.create(tmp_path_factory.mktemp("schemas"), *PACKAGES)


def find_errors(python: Path, files: list[Path]) -> dict[str, list[str]]:
    script = Path(__file__).with_name("custom_resources.py")
    result = subprocess.run([python, script, *files], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found: dict[str, list[str]] = json.loads(result.stdout)
    return found


def test_resources_are_valid_by_the_published_schemas(python: Path) -> None:
    found = find_errors(python, [ROOT / "deploy" / name for name in FILES])
    assert all(errors == [] for errors in found.values()), found


def test_unknown_fields_are_reported(python: Path, tmp_path: Path) -> None:
    files = []
    for name, (right, wrong) in WRONG.items():
        text = (ROOT / "deploy" / name).read_text()
        assert right in text
        files.append(tmp_path / Path(name).name)
        files[-1].write_text(text.replace(right, wrong))
    assert all(find_errors(python, files).values())
