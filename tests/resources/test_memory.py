"""Memory that a container may use, from control groups and the physical memory."""

from pathlib import Path

import pytest

from backend.resources import memory
from backend.resources.memory import MemoryShares, free_memory, memory_limit
from tests.resources.test_cpus import write_cgroup_files

PHYSICAL_MEMORY = 16_000_000_000


@pytest.fixture(autouse=True)
def sixteen_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_physical_memory", lambda: [PHYSICAL_MEMORY])


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, PHYSICAL_MEMORY),
        ({"a/b/memory.max": "536870912\n"}, 536870912),
        ({"a/memory.max": "1000000\n", "a/b/memory.max": "max\n"}, 1000000),
        ({"memory.max": "536870912\n"}, 536870912),
        ({"a/b/memory.max": "max\n"}, PHYSICAL_MEMORY),
        ({"a/b/memory.max": "99000000000\n"}, PHYSICAL_MEMORY),
        ({"a/b/memory.max": ""}, PHYSICAL_MEMORY),
    ],
)
def test_reads_cgroups_v2(files: dict[str, str], limit: int, tmp_path: Path) -> None:
    assert memory_limit(write_cgroup_files(tmp_path, "0::/a/b\n", **files)) == limit


@pytest.mark.parametrize(
    ("figure", "limit"), [("536870912", 536870912), ("9223372036854771712", PHYSICAL_MEMORY)]
)
def test_reads_cgroups_v1(figure: str, limit: int, tmp_path: Path) -> None:
    own = "12:memory:/docker/0123\n4:cpu,cpuacct:/docker/0123\n0::/x\n"
    files = {"memory/docker/0123/memory.limit_in_bytes": figure}
    assert memory_limit(write_cgroup_files(tmp_path, own, **files)) == limit


def test_limit_is_none_if_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_physical_memory", list)
    assert memory_limit(tmp_path) is None


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 8_000_000_000),
        ({"a/memory.max": "1000", "a/memory.current": "700"}, 300),
        (
            {
                "a/memory.max": "1000",
                "a/memory.current": "700",
                "a/memory.stat": "anon 100\ninactive_file 200\n",
            },
            500,
        ),
        ({"memory/a/memory.limit_in_bytes": "1000", "memory/a/memory.usage_in_bytes": "1200"}, 0),
        ({"a/memory.max": "max", "a/memory.current": "700"}, 8_000_000_000),
    ],
    ids=str,
)
def test_free_memory_is_that_of_the_machine_or_of_the_container(
    files: dict[str, str], free: int, tmp_path: Path
) -> None:
    own = "1:memory:/a\n" if "memory/a/memory.limit_in_bytes" in files else "0::/a\n"
    root = write_cgroup_files(tmp_path, own, **files)
    (root / "proc/meminfo").write_text("MemTotal: 1 kB\nMemAvailable: 7812500 kB\n")
    assert free_memory(root) == free


def test_shares_leave_memory_for_the_process_and_its_models() -> None:
    shares = MemoryShares.from_limit(512 << 20)
    # The process with the four models takes 240 MB.
    assert shares.decoding + shares.files + shares.inference <= (512 << 20) - 240_000_000
    assert shares.files >= 11 * 4_000_000  # photos that one instance receives concurrently
    assert shares.decoding >= 14 * 4032 * 3024  # a transparent image of a phone's size
