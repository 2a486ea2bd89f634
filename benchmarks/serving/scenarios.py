"""The scenarios and their targets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from benchmarks.serving.assets import ModelName
from benchmarks.serving.comparison import Comparison
from benchmarks.serving.idle import Start
from benchmarks.serving.images import ImageKind
from benchmarks.serving.latency_curve import LatencyCurve
from benchmarks.serving.measurement import Log, Options
from benchmarks.serving.overload import Overload
from benchmarks.serving.results import Measured, Target, at_least, at_most
from benchmarks.serving.systems import (
    BENTOML_ONNX,
    DIGIT_PEERS,
    LITSERVE,
    LITSERVE_ONNX,
    NOOP,
    NOOP_TWO,
    OTHER_SERVERS,
    PEERS,
    PRISM,
    PRISM_ALL_MODELS,
    PRISM_HEADS,
    PRISM_NO_HISTORY,
    PRISM_TWO,
    RAW,
    TUTORIAL,
    System,
)
from benchmarks.serving.throughput import Row, Throughput


class Scenario(Protocol):
    """The interface of a scenario."""

    @property
    def name(self) -> str:
        """Return the name for `--only`."""

    def run(self, options: Options, log: Log) -> Measured:
        """Return what was measured; call `log` with a message for each step."""


_MOBILENET: ModelName = "mobilenet_v3_large"
_ONNX_PEERS = (LITSERVE_ONNX, BENTOML_ONNX)
Targets = Mapping[str, Target | None]


def _row(kind: ImageKind, title: str, targets: Targets, systems: Sequence[str] = ()) -> Row:
    """Return a row with the targets of the ratios, by what Prism is compared with."""
    comparisons = tuple(Comparison(to, target) for to, target in targets.items())
    return Row(kind, title, comparisons, frozenset(systems))


def _large_network(name: str, title: str, model: ModelName, targets: Targets) -> Throughput:
    """Return a comparison of Prism with its peers and with the raw limit."""
    rows = (_row("photo", f"{title}, photo, 16 clients", targets),)
    return Throughput(name, model, rows, (PRISM, *PEERS), has_raw_limit=True)


def _digit_row(kind: ImageKind, title: str, target: float, **more: Target | None) -> Row:
    # Users run the peers with torch. `tutorial-onnx` runs Prism's own graph, as a stricter measure.
    targets: Targets = {"torch": at_least(target), "peer": None, **more}
    systems = [one.name for one in (PRISM, *DIGIT_PEERS)]
    systems += [NOOP.name] if "noop" in more else []
    return _row(kind, f"digits, {title}, 16 clients", targets, systems)


_DIGITS = Throughput(
    "digits",
    "mnist-cnn",
    (
        _digit_row("tiny", "PNG of 28x28", 2.0, noop=at_least(0.4)),
        _digit_row("clean", "clean PNG of 240x240", 2.0),
        _digit_row("uneven", "PNG of 240x240 in uneven light", 1.5),
        _digit_row("sheet", "12-megapixel JPEG of a sheet", 4.0),
    ),
    (PRISM, *DIGIT_PEERS, NOOP),
)

_PHOTOS = Throughput(
    "photos",
    "photos",
    (
        _row("photo", "photo model, JPEG of 87 kB, 16 clients", {"onnx": at_least(1.7)}),
        _row("large", "photo model, JPEG of 12 megapixels, 16 clients", {"onnx": at_least(4)}),
        _row("png", "photo model, PNG of 1.2 megapixels, 16 clients", {"onnx": None}),
        _row("webp", "photo model, WebP of 12 megapixels, 16 clients", {"onnx": None}),
        _row("heic", "photo model, HEIC of 12 megapixels, 16 clients", {}, [PRISM.name]),
    ),
    (PRISM, *_ONNX_PEERS),
)

_WORKERS = Throughput(
    "workers",
    "mnist-cnn",
    (
        Row(
            "tiny",
            "digits, PNG of 28x28, 16 clients, two workers",
            (
                Comparison(NOOP_TWO.name, at_least(0.4), of=PRISM_TWO.name),
                Comparison(PRISM.name, of=PRISM_TWO.name),
                Comparison(NOOP.name, of=NOOP_TWO.name),
            ),
        ),
    ),
    (PRISM, PRISM_TWO, NOOP, NOOP_TWO),
)

_HISTORY = Throughput(
    "history",
    "mnist-cnn",
    (_row("tiny", "digits, PNG of 28x28, 16 clients, SQLite", {PRISM_NO_HISTORY.name: None}),),
    (PRISM, PRISM_NO_HISTORY),
)

_HEADS = Throughput(
    "heads",
    "photos",
    (
        Row(
            "photo",
            "photo model and 100 models taught on it, JPEG of 87 kB, 16 clients",
            (Comparison(PRISM.name, at_least(0.95), of=PRISM_HEADS.name),),
        ),
    ),
    (PRISM, PRISM_HEADS),
)

_OTHERS: Targets = {one.name: None for one in OTHER_SERVERS}
_OTHER_SERVERS = Throughput(
    "others",
    "mnist-cnn",
    (
        _row("tiny", "digits, PNG of 28x28, 16 clients, other servers", _OTHERS),
        _row("clean", "digits, clean PNG of 240x240, 16 clients, other servers", _OTHERS),
    ),
    (PRISM, *OTHER_SERVERS),
)

SCENARIOS: tuple[Scenario, ...] = (
    _DIGITS,
    Throughput(
        "digit-latency",
        "mnist-cnn",
        (_row("clean", "digits, clean PNG of 240x240, one client", {TUTORIAL.name: at_most(0.8)}),),
        (PRISM, TUTORIAL),
        clients=1,
        metric="latency",
    ),
    _WORKERS,
    _HISTORY,
    _PHOTOS,
    _HEADS,
    _large_network(
        "resnet50",
        "ResNet-50",
        "resnet50",
        {RAW: at_least(0.95), "torch": at_least(1.5), "onnx": None},
    ),
    _large_network(
        "mobilenet",
        "MobileNetV3-large",
        _MOBILENET,
        {RAW: at_least(0.95), "torch": at_least(2.8), "onnx": None},
    ),
    Throughput(
        "single",
        "resnet50",
        (_row("photo", "ResNet-50, photo, one client", {RAW: at_most(1.1)}),),
        (PRISM,),
        has_raw_limit=True,
        clients=1,
        metric="latency",
    ),
    LatencyCurve("digit-curve", "digits, PNG of 240x240", "mnist-cnn", "clean", (PRISM, TUTORIAL)),
    LatencyCurve(
        "photo-curve", "photo model, JPEG of 87 kB", "photos", "photo", (PRISM, LITSERVE_ONNX)
    ),
    Overload("overload50", "overload, ResNet-50", "resnet50", "photo", {2: 0.9, 10: 0.9}),
    Overload("overload", "overload, MobileNetV3-large", _MOBILENET, "photo", {2: 0.9, 10: 0.8}),
    Start(
        "start",
        "start to first digit, Prism with all models",
        (PRISM_ALL_MODELS, TUTORIAL, LITSERVE),
        (Comparison(PRISM.name, at_least(4), of=TUTORIAL.name),),
        at_most(130),
    ),
    _OTHER_SERVERS,
)
# Not measured by default: its servers are installed only on request.
OPTIONAL = frozenset({_OTHER_SERVERS.name})


def with_systems(scenario: Scenario, systems: tuple[System, ...]) -> Scenario | None:
    """Return `scenario` with `systems` in place of Prism and its peers, without comparisons.

    Return None if the scenario measures Prism alone.
    """
    if isinstance(scenario, Throughput):
        rows = tuple(replace(row, comparisons=(), systems=frozenset()) for row in scenario.rows)
        return replace(scenario, rows=rows, systems=systems, has_raw_limit=False)
    if isinstance(scenario, Start):
        return replace(scenario, systems=systems, comparisons=())
    return None
