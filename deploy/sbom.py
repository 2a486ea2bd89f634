"""Write a CycloneDX SBOM of each container image, and compare it with the lock files.

python -m deploy.sbom --engine docker          writes sbom/backend.cdx.json and frontend.cdx.json

The components are what is installed in the image: the Python packages, the packages of the base
image's Debian, and the models. The exit status is 1 if a Python package is not in the lock files of
the image, has another version, or is missing. See docs/deploy.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.container_images import BACKEND, FRONTEND, ROOT, Service
from deploy.containers import Engine
from deploy.lock_files import (
    OPTIONAL_FRONTEND_LOCKS,
    OPTIONAL_LOCKS,
    LockError,
    normalize,
    read_lock,
    read_locks,
)

SPEC_VERSION = "1.5"  # the newest that Google's Artifact Analysis accepts
# Runs in the image, whose Python has no packages of ours but these.
INVENTORY = """
import hashlib, importlib.metadata, json, pathlib
def first(meta, *names):
    return next((meta[name] for name in names if meta[name] and len(meta[name]) < 100), "")
python = [
    {"name": d.name, "version": d.version,
     "expression": d.metadata["License-Expression"] or "", "license": first(d.metadata, "License")}
    for d in importlib.metadata.distributions()
]
debian, status = [], pathlib.Path("/var/lib/dpkg/status")
for text in status.read_text().split("\\n\\n") if status.exists() else []:
    lines = [line.partition(": ") for line in text.split("\\n") if not line.startswith(" ")]
    fields = {name: value for name, _, value in lines}
    if fields.get("Status", "").endswith(" installed"):
        debian.append({"name": fields["Package"], "version": fields["Version"],
                       "architecture": fields["Architecture"]})
release = pathlib.Path("/etc/os-release")
codename = [line.partition("=")[2] for line in release.read_text().splitlines()
            if line.startswith("VERSION_CODENAME=")] if release.exists() else []
models = []
for path in sorted(pathlib.Path("models").glob("*/manifest.json")):
    manifest = json.loads(path.read_text())
    models.append({"name": manifest["name"], "version": manifest["version"],
                   "license": manifest.get("license") or "",
                   "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
print(json.dumps({"python": python, "debian": debian, "models": models,
                  "codename": codename[0] if codename else ""}))
"""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is installed in an image; each entry has at least a name and a version."""

    python: list[dict[str, str]]
    debian: list[dict[str, str]] = field(default_factory=list)
    models: list[dict[str, str]] = field(default_factory=list)
    codename: str = ""  # of the Debian release


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the SBOMs; print a line for each, and for each difference from the lock files."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.sbom",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--engine", default="docker", help="docker, podman or a compatible command")
    parser.add_argument("--out", type=Path, default=ROOT / "sbom", help="folder for the files")
    options = parser.parse_args(arguments)
    engine = Engine(options.engine)
    options.out.mkdir(parents=True, exist_ok=True)
    status = 0
    for service in (BACKEND, FRONTEND):
        try:
            inventory = read_inventory(engine, service)
            differences = compare_with_locks(inventory, service)
        except subprocess.CalledProcessError as error:
            print(f"FAILED  {service.image}: {(error.output or '').strip()[-600:]}")
            print("        `make images` builds the images.")
            return 1
        except FileNotFoundError as error:
            print(f"FAILED  {error.filename} is not installed; set CONTAINER_ENGINE or --engine")
            return 1
        except (OSError, LockError) as error:
            print(f"FAILED  {service.image}: {error}")
            return 1
        path = options.out / f"{service.name}.cdx.json"
        path.write_text(json.dumps(create_sbom(inventory, service.image), indent=2) + "\n")
        for difference in differences:
            status = 1
            print(f"FAILED  {service.image}: {difference}")
        print(
            f"ok      {path.name}: {len(inventory.python)} Python packages, "
            f"{len(inventory.debian)} Debian packages, {len(inventory.models)} models"
        )
    return status


def read_inventory(engine: Engine, service: Service) -> Inventory:
    """Return what is installed in an image; raise CalledProcessError if it cannot be run."""
    output = engine("run", "--rm", "--network=none", service.image, "python", "-c", INVENTORY)
    return Inventory(**json.loads(output))


def compare_with_locks(inventory: Inventory, service: Service) -> list[str]:
    """Return the differences between the Python packages of an image and its lock files.

    Optional packages may be missing, because build arguments select them.
    """
    optional = OPTIONAL_LOCKS if service == BACKEND else OPTIONAL_FRONTEND_LOCKS
    name = "serving" if service == BACKEND else "frontend"
    required = read_lock(name)
    locked = read_locks((name, *optional))
    installed = {normalize(package["name"]): package["version"] for package in inventory.python}
    differences = [f"{name} is not installed" for name in sorted(required.keys() - installed)]
    for name, version in sorted(installed.items()):
        if name not in locked:
            differences.append(f"{name} {version} is installed, but not locked")
        elif locked[name].version != version:
            differences.append(f"{name} {version} is installed, but {locked[name].version} locked")
    return differences


def create_sbom(inventory: Inventory, image: str) -> dict[str, Any]:
    """Return the SBOM of an image as a CycloneDX document."""
    components = [
        _component("library", package, f"pkg:pypi/{normalize(package['name'])}")
        for package in inventory.python
    ]
    suffix = f"&distro={inventory.codename}" if inventory.codename else ""
    components += [
        _component(
            "library",
            package,
            f"pkg:deb/debian/{quote(package['name'])}",
            f"?arch={package['architecture']}{suffix}",
        )
        for package in inventory.debian
    ]
    components += [
        _component("machine-learning-model", model, f"pkg:generic/{quote(model['name'])}")
        for model in inventory.models
    ]
    components.sort(key=lambda component: str(component["bom-ref"]))
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        # The same content gets the same number.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(components))}",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": image, "bom-ref": image}},
        "components": components,
    }


def _component(kind: str, package: dict[str, str], purl: str, suffix: str = "") -> dict[str, Any]:
    reference = f"{purl}@{quote(package['version'], safe='')}{suffix}"
    component: dict[str, Any] = {
        "type": kind,
        "name": package["name"],
        "version": package["version"],
        "purl": reference,
        "bom-ref": reference,
    }
    if expression := package.get("expression"):
        component["licenses"] = [{"expression": expression}]
    elif license_name := package.get("license"):
        component["licenses"] = [{"license": {"name": license_name}}]
    if digest := package.get("sha256"):
        component["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return component


if __name__ == "__main__":
    sys.exit(main())
