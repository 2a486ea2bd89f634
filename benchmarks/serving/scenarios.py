"""The scenarios and their targets."""

from collections.abc import Callable
from typing import Protocol

from benchmarks.serving.idle import ColdStart, IdleMemory
from benchmarks.serving.measurement import Options
from benchmarks.serving.overload import Overload
from benchmarks.serving.results import Figure, at_least
from benchmarks.serving.systems import NOOP, PEERS, PRISM, System
from benchmarks.serving.throughput import SingleClient, Throughput


class Scenario(Protocol):
    """The interface of a scenario."""

    @property
    def name(self) -> str:
        """Return the name for `--only`."""

    @property
    def title(self) -> str:
        """Return the title for the table."""

    @property
    def systems(self) -> tuple[System, ...]:
        """Return the systems that the scenario can measure."""

    def run(self, options: Options, log: Callable[[str], None]) -> list[Figure]:
        """Return the measured figures; call `log` with a message for each step."""


SCENARIOS: tuple[Scenario, ...] = (
    Throughput(
        name="resnet50",
        title="ResNet-50, photo, 16 clients",
        model="resnet50",
        kind="photo",
        systems=(PRISM, *PEERS),
        has_raw_limit=True,
        targets={"raw": at_least(0.95), "torch": at_least(2), "onnx": at_least(1.15)},
    ),
    Throughput(
        name="mobilenet",
        title="MobileNetV3-large, photo, 16 clients",
        model="mobilenet_v3_large",
        kind="photo",
        systems=(PRISM, *PEERS),
        has_raw_limit=True,
        targets={"raw": at_least(0.85), "torch": at_least(3), "onnx": at_least(1.3)},
    ),
    Throughput(
        name="large",
        title="MobileNetV3-large, 12-megapixel photo, 16 clients",
        model="mobilenet_v3_large",
        kind="large",
        systems=(PRISM, *PEERS),
        has_raw_limit=True,
        targets={"raw": None, "peer": at_least(4)},
    ),
    Throughput(
        name="digits",
        title="digits, PNG of 240x240, 16 clients",
        model="mnist-cnn",
        kind="digit",
        systems=(PRISM, NOOP),
        targets={"noop": at_least(0.6)},
    ),
    Throughput(
        name="tiny",
        title="digits, PNG of 28x28, 16 clients",
        model="mnist-cnn",
        kind="tiny",
        systems=(PRISM, NOOP),
        targets={"noop": at_least(0.6)},
    ),
    ColdStart(name="cold", title="start to first classification, digits"),
    SingleClient(
        name="single", title="ResNet-50, photo, one client", model="resnet50", kind="photo"
    ),
    Overload(
        name="overload50",
        title="overload, ResNet-50, photo",
        model="resnet50",
        kind="photo",
    ),
    Overload(
        name="overload",
        title="overload, MobileNetV3-large, photo",
        model="mobilenet_v3_large",
        kind="photo",
    ),
    IdleMemory(name="memory", title="idle, digits, memory of all processes"),
)
