"""SBOMs: valid by the schema of CycloneDX, complete, and compared with the lock files."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy import sbom
from deploy.container_images import BACKEND, FRONTEND
from deploy.lock_files import normalize, read_lock, read_locks
from deploy.sbom import Inventory, compare_with_locks, create_sbom
from tests.conftest import ROOT
from tests.deploy.test_containers import engine


def locked(*names: str) -> Inventory:
    """Return what an image with exactly these lock files contains."""
    packages = read_locks(names).items()
    return Inventory([{"name": name, "version": item.version} for name, item in packages])


def inventory_of_this_environment() -> Inventory:
    command = [sys.executable, "-c", sbom.INVENTORY]
    return Inventory(**json.loads(subprocess.check_output(command, cwd=ROOT, text=True)))


def test_sbom_is_valid_and_lists_packages_and_models() -> None:
    inventory = inventory_of_this_environment()
    document = create_sbom(inventory, "prism-backend")
    error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(document))
    assert error is None, str(error)
    listed = {
        (component["name"], component["version"]): component["purl"]
        for component in document["components"]
    }
    for package in inventory.python:
        purl = listed[package["name"], package["version"]]
        assert purl.startswith(f"pkg:pypi/{normalize(package['name'])}@")
    assert {model["name"] for model in inventory.models} >= {"mnist-cnn", "photos"}
    assert any(purl.startswith("pkg:generic/mnist-cnn@") for purl in listed.values())


def test_same_content_gives_the_same_document() -> None:
    inventory = locked("serving")
    reversed_inventory = replace(inventory, python=inventory.python[::-1])
    assert create_sbom(inventory, "a") == create_sbom(reversed_inventory, "a")


def test_debian_packages_are_listed_with_their_release() -> None:
    package = {"name": "libc6", "version": "2.41-1+b1", "architecture": "amd64"}
    document = create_sbom(Inventory([], [package], [], "trixie"), "prism-backend")
    (component,) = document["components"]
    assert component["purl"] == "pkg:deb/debian/libc6@2.41-1%2Bb1?arch=amd64&distro=trixie"


@pytest.mark.parametrize(
    "names", [("serving",), ("serving", "postgres"), ("serving", "gcs", "otel")]
)
def test_backend_with_any_optional_packages_equals_its_locks(names: tuple[str, ...]) -> None:
    assert compare_with_locks(locked(*names), BACKEND) == []


@pytest.mark.parametrize("names", [("frontend",), ("frontend", "otel", "postgres")])
def test_frontend_with_any_optional_packages_equals_its_locks(names: tuple[str, ...]) -> None:
    assert compare_with_locks(locked(*names), FRONTEND) == []


def test_differences_from_the_lock_are_reported() -> None:
    packages = locked("frontend").python
    changed = [{**packages[0], "version": "0.0.1"}, *packages[2:]]
    changed.append({"name": "Not_Locked", "version": "3"})
    first, second = packages[:2]
    assert compare_with_locks(Inventory(changed), FRONTEND) == [
        f"{second['name']} is not installed",
        f"{first['name']} 0.0.1 is installed, but {first['version']} locked",
        "not-locked 3 is installed, but not locked",
    ]


def test_command_writes_one_file_for_each_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, lock in (("backend", "serving"), ("frontend", "frontend")):
        packages = read_lock(lock).items()
        python = [{"name": name, "version": item.version} for name, item in packages]
        (tmp_path / name).write_text(json.dumps({"python": python}))
    script = engine(tmp_path, f'case "$*" in *prism-backend*) cat {tmp_path}/backend;; '
                    f"*) cat {tmp_path}/frontend;; esac")  # fmt: skip
    out = tmp_path / "sbom"
    assert sbom.main(["--engine", script, "--out", str(out)]) == 0, capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"backend.cdx.json", "frontend.cdx.json"}
    (tmp_path / "backend").write_text(json.dumps({"python": []}))
    assert sbom.main(["--engine", script, "--out", str(out)]) == 1
    assert "fastapi is not installed" in capsys.readouterr().out


def test_missing_image_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = engine(tmp_path, "echo no such image >&2; exit 125")
    assert sbom.main(["--engine", script, "--out", str(tmp_path)]) == 1
    assert "no such image" in (output := capsys.readouterr().out)
    assert "make images" in output


def test_missing_engine_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sbom.main(["--engine", "no-such-engine", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().out == (
        "FAILED  no-such-engine is not installed; set CONTAINER_ENGINE or --engine\n"
    )
