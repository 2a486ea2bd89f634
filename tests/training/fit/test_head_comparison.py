"""The comparison of a fine-tuned network with a head names a winner only if there is one."""

import numpy as np
import pytest

from training.fit.head_comparison import HeadComparison

TRUTH = np.array([0, 1, 1, 0])


def test_images_are_counted_in_pairs() -> None:
    network = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    head = np.eye(2, dtype=np.float32)[[0, 0, 0, 0]]
    comparison = HeadComparison.of(TRUTH, network, head)
    assert comparison == HeadComparison(both=1, only_network=1, only_head=1, neither=1)
    assert (comparison.accuracy, comparison.head_accuracy) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("only_network", "only_head", "verdict"),
    [(3, 1, "may be chance"), (9, 0, "fine-tuning is better"), (0, 9, "the head is better")],
)
def test_verdict_depends_on_the_significance(
    only_network: int, only_head: int, verdict: str
) -> None:
    lines = HeadComparison(80, only_network, only_head, 1).lines()
    assert verdict in lines[-1]
    assert f"only the network is right for {only_network}" in lines[-1]
