"""Processors that a container may use, from control groups and the affinity mask."""

import os
from pathlib import Path

import pytest

from backend.resources import cpus
from backend.resources.cpus import cpu_limit, threads_per_worker


@pytest.fixture(autouse=True)
def sixteen_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def write_cgroup_files(root: Path, own: str, **files: str) -> Path:
    """Write `own` to /proc/self/cgroup and `files` to /sys/fs/cgroup below `root`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, 16),
        ({"a/b/cpu.max": "150000 100000\n"}, 1.5),
        ({"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2),
        ({"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "400000 100000\n"}, 2),
        ({"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 0.5),
        ({"a/b/cpu.max": "max 100000\n"}, 16),
        ({"a/b/cpu.max": "3200000 100000\n"}, 16),
        ({"other/cpu.max": "100000 100000\n"}, 16),
        ({"a/b/cpu.max": ""}, 16),
    ],
)
def test_reads_cgroups_v2(files: dict[str, str], limit: float, tmp_path: Path) -> None:
    assert cpu_limit(write_cgroup_files(tmp_path, "0::/a/b\n", **files)) == limit


def test_cgroup_path_of_the_host_falls_back_to_the_root(tmp_path: Path) -> None:
    own = "0::/system.slice/docker-0123.scope\n"
    assert cpu_limit(write_cgroup_files(tmp_path, own, **{"cpu.max": "250000 100000"})) == 2.5


def test_cgroup_path_outside_the_tree_is_ignored(tmp_path: Path) -> None:
    assert (
        cpu_limit(write_cgroup_files(tmp_path, "0::/../..\n", **{"cpu.max": "300000 100000"})) == 3
    )


@pytest.mark.parametrize("tree", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize("folder", ["docker/0123", "docker", "."])
@pytest.mark.parametrize(("quota", "limit"), [("150000", 1.5), ("-1", 16)])
def test_reads_cgroups_v1(tree: str, folder: str, quota: str, limit: float, tmp_path: Path) -> None:
    own = "12:memory:/elsewhere\n4:cpu,cpuacct:/docker/0123\n1:name=systemd:/x\n0::/x\n"
    files = {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": "100000\n"}
    root = write_cgroup_files(
        tmp_path, own, **{f"{tree}/{folder}/{name}": files[name] for name in files}
    )
    assert cpu_limit(root) == limit


def test_other_controllers_are_ignored(tmp_path: Path) -> None:
    files = {"cpuset/cpu.cfs_quota_us": "100000", "cpuset/cpu.cfs_period_us": "100000"}
    assert cpu_limit(write_cgroup_files(tmp_path, "3:cpuset:/\n2:cpu:/\n", **files)) == 16


def test_reads_v2_mounted_next_to_v1(tmp_path: Path) -> None:
    root = write_cgroup_files(tmp_path, "0::/a\n", **{"unified/a/cpu.max": "100000 100000"})
    assert cpu_limit(root) == 1


def test_falls_back_to_affinity_and_cpu_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cpu_limit(tmp_path) == 16
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cpu_limit(tmp_path) == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpu_limit(tmp_path) == 1


def test_limit_of_this_machine_is_positive() -> None:
    assert 0 < cpus.cpu_limit() <= 16


@pytest.mark.parametrize(
    ("limit", "workers", "threads"),
    [(0.5, 1, 1), (1, 1, 1), (1.4, 1, 1), (1.6, 1, 2), (2.0, 1, 2), (16, 4, 4), (2, 4, 1)],
)
def test_threads_per_worker_fill_the_limit(limit: float, workers: int, threads: int) -> None:
    assert threads_per_worker(limit, workers) == threads
