"""The scenarios and their targets."""

from collections.abc import Callable
from typing import Protocol

from benchmarks.serving.assets import ImageKind, ModelName
from benchmarks.serving.idle import ColdStart, IdleMemory
from benchmarks.serving.measurement import Options
from benchmarks.serving.overload import Overload
from benchmarks.serving.results import Figure, Target, at_least
from benchmarks.serving.systems import BENTOML_ONNX, LITSERVE_ONNX, NOOP, PEERS, PRISM
from benchmarks.serving.throughput import SingleClient, Throughput


class Scenario(Protocol):
    """The interface of a scenario."""

    @property
    def name(self) -> str:
        """Return the name for `--only`."""

    def run(self, options: Options, log: Callable[[str], None]) -> list[Figure]:
        """Return the measured figures; call `log` with a message for each step."""


_MOBILENET: ModelName = "mobilenet_v3_large"


def _photos(
    name: str, title: str, model: ModelName, kind: ImageKind, **targets: float | None
) -> Throughput:
    """Return a comparison of Prism with its peers and with the raw limit."""
    bounds = {key: None if value is None else at_least(value) for key, value in targets.items()}
    title = f"{title}, 16 clients"
    return Throughput(name, title, model, kind, (PRISM, *PEERS), bounds, has_raw_limit=True)


def _digits(name: str, title: str, kind: ImageKind) -> Throughput:
    """Return a comparison of Prism with the cost of HTTP alone."""
    targets: dict[str, Target | None] = {"noop": at_least(0.6)}
    return Throughput(name, f"{title}, 16 clients", "mnist-cnn", kind, (PRISM, NOOP), targets)


SCENARIOS: tuple[Scenario, ...] = (
    _photos("resnet50", "ResNet-50, photo", "resnet50", "photo", raw=0.95, torch=2, onnx=1.15),
    _photos(
        "mobilenet", "MobileNetV3-large, photo", _MOBILENET, "photo", raw=0.85, torch=3, onnx=1.3
    ),
    _photos(
        "large", "MobileNetV3-large, 12-megapixel photo", _MOBILENET, "large", raw=None, peer=4
    ),
    Throughput(
        "photos",
        "bundled photo model, photo, 16 clients",
        "photos",
        "photo",
        (PRISM, LITSERVE_ONNX, BENTOML_ONNX),
        {"onnx": at_least(1.15)},
    ),
    _digits("digits", "digits, PNG of 240x240", "digit"),
    _digits("tiny", "digits, PNG of 28x28", "tiny"),
    ColdStart("cold", "start to first classification, digits"),
    SingleClient("single", "ResNet-50, photo, one client", "resnet50", "photo"),
    Overload("overload50", "overload, ResNet-50, photo", "resnet50", "photo"),
    Overload("overload", "overload, MobileNetV3-large, photo", _MOBILENET, "photo"),
    IdleMemory("memory", "idle, digits, memory of all processes"),
)
