"""A bulk job on two raylets, one of which is killed; needs requirements/bulk-ray.txt."""

import time
from pathlib import Path

import pytest

from tests.extended.test_bulk_kills import check, start, write_source


def test_lost_node_loses_and_repeats_no_image(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    broken = write_source(tmp_path)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1)
        process = start(tmp_path, cluster.address)
        deadline = time.monotonic() + 600
        while len(list((tmp_path / "out").glob("part-*"))) < 3:
            assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        cluster.remove_node(second, allow_graceful=False)
        assert process.wait(timeout=600) == 0, (tmp_path / "log").read_text()[-2000:]
    finally:
        cluster.shutdown()
    check(tmp_path, broken)
