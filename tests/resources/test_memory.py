"""The memory that a container may use, from what the kernel says of it."""

from pathlib import Path

import pytest

from backend.resources import memory
from backend.resources.memory import Shares, memory_limit
from tests.resources.test_cpus import machine

MACHINE = 16_000_000_000


@pytest.fixture(autouse=True)
def sixteen_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_machine", lambda: [MACHINE])


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, MACHINE),
        ({"a/b/memory.max": "536870912\n"}, 536870912),
        ({"a/memory.max": "1000000\n", "a/b/memory.max": "max\n"}, 1000000),
        ({"memory.max": "536870912\n"}, 536870912),
        ({"a/b/memory.max": "max\n"}, MACHINE),
        ({"a/b/memory.max": "99000000000\n"}, MACHINE),
        ({"a/b/memory.max": ""}, MACHINE),
    ],
)
def test_cgroups_of_version_2(files: dict[str, str], limit: int, tmp_path: Path) -> None:
    assert memory_limit(machine(tmp_path, "0::/a/b\n", **files)) == limit


@pytest.mark.parametrize(
    ("figure", "limit"), [("536870912", 536870912), ("9223372036854771712", MACHINE)]
)
def test_cgroups_of_version_1(figure: str, limit: int, tmp_path: Path) -> None:
    own = "12:memory:/docker/0123\n4:cpu,cpuacct:/docker/0123\n0::/x\n"
    files = {"memory/docker/0123/memory.limit_in_bytes": figure}
    assert memory_limit(machine(tmp_path, own, **files)) == limit


def test_a_system_that_tells_nothing_sets_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_machine", list)
    assert memory_limit(tmp_path) is None


def test_what_the_process_and_its_models_take_is_left() -> None:
    shares = Shares.of(512 << 20)
    assert shares.decoding + shares.files <= (512 << 20) - 230_000_000
    assert shares.files >= 16 * 4_000_000  # as many photographs as one instance is sent at a time
    assert shares.decoding >= 14 * 4032 * 3024  # what a phone takes, transparent
