"""The lock files of the images fit the requirements files and are complete."""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from deploy import lock_files
from deploy.lock_files import LockError, normalize, read_lock, read_locks
from tests.test_requirements import MINIMUM_VERSIONS, ROOT, requirements

SOURCES = {
    "serving": "requirements/serving.txt",
    "gcs": "requirements/gcs.txt",
    "otel": "requirements/otel.txt",
    "postgres": "requirements/postgres.txt",
    "grpc": "requirements/grpc.txt",
    "mcp": "requirements/mcp.txt",
    "frontend": "requirements_frontend.txt",
}


def test_every_lock_file_has_a_source() -> None:
    assert {path.stem for path in ROOT.glob("requirements/*.lock")} == set(SOURCES)


@pytest.mark.parametrize(("name", "source"), SOURCES.items())
def test_lock_satisfies_its_requirements_file(name: str, source: str) -> None:
    locked = read_lock(name)
    for package, bounds in requirements(source).items():
        assert package in locked, f"{package} is missing from {name}.lock; run `make lock`"
        allowed = SpecifierSet(bounds.partition(";")[0])
        version = locked[package].version
        assert allowed.contains(version), f"{package} {version} is not {allowed}; run `make lock`"


@pytest.mark.parametrize("name", SOURCES)
def test_lock_contains_the_dependencies_of_its_packages(name: str) -> None:
    locked = read_lock(name) if name in ("serving", "frontend") else read_locks(("serving", name))
    image = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix",
             "python_version": "3.11", "python_full_version": "3.11.9", "extra": ""}  # fmt: skip
    for package, item in locked.items():
        try:
            installed = distribution(package)
        except PackageNotFoundError:
            continue
        if installed.version != item.version:
            continue  # this environment has another version, whose dependencies may differ
        for text in installed.requires or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate(image):
                other = locked.get(normalize(needed.name))
                assert other, f"{package} needs {needed}; run `make lock`"
                assert needed.specifier.contains(other.version, prereleases=True), needed


@pytest.mark.parametrize("name", SOURCES)
def test_every_locked_package_has_hashes(name: str) -> None:
    assert all(package.hashes for package in read_lock(name).values())


@pytest.mark.parametrize("name", SOURCES)
def test_lock_file_names_no_index_and_no_torch(name: str) -> None:
    assert "://" not in (ROOT / f"requirements/{name}.lock").read_text()
    assert not {"torch", "torchvision"} & set(read_lock(name))


@pytest.mark.parametrize("names", [("serving", *lock_files.OPTIONAL_LOCKS), ("frontend",)])
def test_locked_versions_have_no_known_vulnerabilities(names: tuple[str, ...]) -> None:
    for package, locked in read_locks(names).items():
        if package in MINIMUM_VERSIONS:
            assert SpecifierSet(f">={MINIMUM_VERSIONS[package]}").contains(locked.version), package


def test_frontend_traces_and_postgresql_fit_into_one_image() -> None:
    packages = set(read_locks(("frontend", "otel", "postgres")))
    assert {"opentelemetry-sdk", "psycopg", "sqlalchemy"} <= packages


@pytest.mark.parametrize("name", ["backend.dockerfile", "frontend.dockerfile"])
def test_images_install_only_locked_wheels_with_hashes(name: str) -> None:
    stage = (ROOT / name).read_text().partition(" AS packages\n")[2].partition("\nFROM ")[0]
    (install,) = re.findall(r"pip \S+ \S+ install (.*?)&&", stage.replace("\\\n", ""))
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(install.split())
    files = re.findall(r"-r ([^\s}]+)", install)
    assert files
    assert all(file.endswith(".lock") for file in files)


def test_torch_target_copies_the_requirements_files_that_it_installs() -> None:
    text = (ROOT / "backend.dockerfile").read_text()
    stage = text.partition(" AS packages-torch\n")[2].partition("\nFROM ")[0]
    included = re.findall(r"^-r (\S+)", (ROOT / "requirements_backend.txt").read_text(), re.M)
    assert included
    copied = re.findall(r"^COPY (.+) \S+$", stage, re.M)
    assert set(included) <= {file for files in copied for file in files.split()}


def test_locks_of_one_image_that_disagree_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_files, "_FOLDER", tmp_path)
    (tmp_path / "one.lock").write_text(f"# made\na.B==1 \\\n    --hash=sha256:{'0' * 64}\n")
    (tmp_path / "two.lock").write_text(f"a-b==2 \\\n    --hash=sha256:{'0' * 64}\n")
    assert read_lock("one")["a-b"].hashes == ("0" * 64,)
    with pytest.raises(LockError, match="a-b has two versions: 1, and 2"):
        read_locks(["one", "two"])


@pytest.mark.parametrize("entry", ["a>=1", "a==1 --hash=md5:00", "a @ file:///a.whl"])
def test_entry_that_is_not_locked_is_an_error(
    entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_files, "_FOLDER", tmp_path)
    (tmp_path / "one.lock").write_text(f"{entry}\n")
    with pytest.raises(LockError, match="unexpected entry"):
        read_lock("one")
