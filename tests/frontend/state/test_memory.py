"""Memory of the page's container."""

import errno
from pathlib import Path

import pytest

from frontend.state import memory


def container(root: Path, *, version: int, limit: str, usage: int, inactive: int = 0) -> Path:
    """Create the files of a control group of that version below `root`."""
    line, folder = ("0::/app", "app") if version == 2 else ("4:memory:/app", "memory/app")
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"{line}\n")
    (root / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    16000000 kB\n")
    group = root / "sys/fs/cgroup" / folder
    group.mkdir(parents=True)
    names = {
        2: ("memory.max", "memory.current", "inactive_file"),
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    }[version]
    for name, value in zip(names, (limit, usage), strict=False):
        (group / name).write_text(f"{value}\n")
    (group / "memory.stat").write_text(f"anon 5\n{names[2]} {inactive}\n")
    return root


@pytest.mark.parametrize("version", [1, 2])
def test_limit_of_the_container_applies(tmp_path: Path, version: int) -> None:
    root = container(tmp_path, version=version, limit="1000", usage=700, inactive=100)
    assert memory.memory_limit(root) == 1000
    assert memory.free_memory(root) == 400
    assert memory.share(10**9, root) == 250
    assert memory.share(7, root) == 7


def test_host_limits_a_container_without_a_limit(tmp_path: Path) -> None:
    root = container(tmp_path, version=2, limit="max", usage=700)
    assert memory.free_memory(root) == 16_000_000 * 1024
    assert memory.memory_limit(root) > 10**8


def test_memory_is_known_without_linux_files(tmp_path: Path) -> None:
    assert memory.memory_limit(tmp_path) > 10**8
    assert memory.free_memory(tmp_path) == memory.memory_limit(tmp_path)


def test_reserve_remains_free(tmp_path: Path) -> None:
    limit = str(memory.RESERVE + 1000)
    root = container(tmp_path, version=2, limit=limit, usage=0)
    memory.require_free(1000, root)
    with pytest.raises(OSError, match="No space") as caught:
        memory.require_free(1001, root)
    assert caught.value.errno == errno.ENOSPC
