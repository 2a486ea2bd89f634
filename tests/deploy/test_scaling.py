"""What docs/scaling.md counts follows from its own formulas and from what is deployed."""

import re

import pytest
import yaml

from benchmarks.load.saturation import Step, instances
from tests.deploy.commands import ROOT
from tests.deploy.manifests import text

PAGE = (ROOT / "docs" / "scaling.md").read_text()
HEADROOM = 1.3


def needed(rate: float, one: float) -> int:
    """The instances for `rate` where an instance answers `one` a second."""
    return instances(rate, Step(1, one, 0, 0, 0, 0, 0), HEADROOM)


def breaks_first(rate: str) -> str:
    """What the table says of this load."""
    (row,) = re.findall(
        rf"^\| {rate} requests/s \| (.*?) \|", PAGE.partition("breaks first")[2], re.M
    )
    return str(row)


def test_the_limit_is_just_enough_for_digits_and_far_too_little_for_photographs() -> None:
    most = yaml.safe_load(text("backend"))["spec"]["template"]["metadata"]["annotations"]
    row = breaks_first("1,000")
    digits, said = map(int, re.findall(r"digits \((\d+)/s each: (\d+)\)", row)[0])
    assert needed(1000, digits) == said == int(most["autoscaling.knative.dev/maxScale"])
    photographs, about = map(int, re.findall(r"phones \((\d+)/s each: about (\d+)\)", row)[0])
    assert round(needed(1000, photographs), -1) == about
    assert "two answer photographs" in breaks_first("10")
    assert needed(10, photographs) == 2


def test_the_page_is_billed_for_what_it_is_deployed_with() -> None:
    spec = yaml.safe_load(text("frontend"))["spec"]["template"]["spec"]
    assert spec["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "1Gi"}
    (said,) = re.findall(r"the hour .*?: \$([\d.]+) with one vCPU and 1 GiB", PAGE)
    assert float(said) == pytest.approx(3600 * (0.000024 + 0.0000025), abs=0.005)
    assert f"1 GiB, {spec['containerConcurrency']} visitors" in PAGE
