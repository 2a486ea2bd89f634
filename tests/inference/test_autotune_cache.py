"""Engine.autotune: a plan is measured once while idle, cached, and read at the next start."""

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from backend.inference import autotune, probes
from backend.inference import engine as engine_module
from backend.inference.autotune import Autotuner, Interrupted, Plan
from backend.inference.batcher import Batch
from backend.inference.decoder import Decoder
from backend.inference.engine import Engine
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.inference.observer import BatchReason, Observer
from backend.inference.runtimes import Alternative
from tests.fake_models import GRAY, GrayRuntime, gray, write_model
from tests.inference.helpers import TIMEOUT


@pytest.fixture(autouse=True)
def short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autotune, "_PROBE_SECONDS", 0.0)


class Model:
    """Creates engines of one model and counts the forward passes of the latest one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.networks: list[GrayRuntime] = []

    def engine(
        self,
        *,
        content: bytes = b"",
        threads: int = 2,
        max_batch: int = 4,
        name: str = "gray",
        **options: Any,
    ) -> Engine:
        folder = self.folder / (content.decode() or "model")
        if not folder.exists():
            write_model(self.folder, folder.name, preprocess=GRAY)
            (folder / artifact.ONNX).write_bytes(content)
            artifact.write_manifest(folder, artifact.read_manifest(folder))
        self.networks = []

        def load(*, threads: int) -> GrayRuntime:
            self.networks.append(GrayRuntime(threads=threads))
            self.networks[-1].name = name
            return self.networks[-1]

        engine = Engine(
            artifact.read(folder), load, Decoder(GRAY, ImageReader(10_000)), threads=threads,
            max_batch=max_batch, observer=Observer(), **options,
        )  # fmt: skip
        engine.use_default_plan()
        for network in self.networks:
            network.batches.clear()
        return engine

    @property
    def forward_passes(self) -> int:
        return sum(len(network.batches) for network in self.networks)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model(tmp_path / "models")


@pytest.fixture
def plans(tmp_path: Path) -> Path:
    return tmp_path / "data" / "plans"


def idle() -> int:
    return 0


def cached_plans(plans: Path) -> list[Path]:
    return sorted(plans.glob("*.json"))


class AutotuneThread(threading.Thread):
    """Runs `engine.autotune` in a thread; the outcome is the plan, or Interrupted."""

    def __init__(self, engine: Engine, plans: Path, activity: Callable[[], int | None]) -> None:
        super().__init__()
        self.outcome: Plan | type[Interrupted] | None = None
        self._autotune = partial(engine.autotune, plans, activity)
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self._autotune()
        except Interrupted:
            self.outcome = Interrupted

    def result(self) -> Plan | type[Interrupted] | None:
        self.join(TIMEOUT)
        assert not self.is_alive()
        return self.outcome


def test_plan_is_cached_and_not_measured_again(model: Model, plans: Path) -> None:
    first = model.engine()
    plan = first.autotune(plans, idle)
    assert plan.measured
    assert model.forward_passes > 0
    assert first.plan == plan
    (path,) = cached_plans(plans)
    assert autotune.read_plan(path) == plan

    second = model.engine()
    assert second.autotune(plans, idle) == second.plan == plan
    assert model.forward_passes == 0


def test_invalid_cached_plan_is_measured_again_and_replaced(model: Model, plans: Path) -> None:
    plan = model.engine().autotune(plans, idle)
    (path,) = cached_plans(plans)
    path.write_text("{")
    again = model.engine().autotune(plans, idle)
    assert model.forward_passes > 0
    assert autotune.read_plan(path) == again
    assert again.measured is plan.measured is True


@pytest.mark.parametrize(
    "other",
    [{"content": b"other"}, {"threads": 3}, {"max_batch": 2}, {"name": "another-runtime"}],
)
def test_other_model_runtime_or_processors_get_their_own_plan(
    model: Model, plans: Path, other: dict[str, Any]
) -> None:
    model.engine().autotune(plans, idle)
    model.engine(**other).autotune(plans, idle)
    assert model.forward_passes > 0
    assert len(cached_plans(plans)) == 2


class Alternatives:
    """An alternative network that is 1.5 times as fast; `networks` are the loaded ones."""

    def __init__(self, patch: pytest.MonkeyPatch, runtime: str = "openvino") -> None:
        patch.setattr(Autotuner, "compare_speed", lambda *_: 1.5)
        patch.setattr(probes, "COUNT", 3)
        self.networks: list[GrayRuntime] = []
        self.all = (Alternative(runtime, "int8", self._load),)

    def _load(self, *, threads: int) -> GrayRuntime:
        self.networks.append(GrayRuntime(threads=threads))
        return self.networks[-1]


def test_faster_alternative_with_same_answers_replaces_the_network(
    model: Model, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alternatives = Alternatives(monkeypatch)
    first = model.engine(alternatives=alternatives.all)
    assert (first.runtime_name, first.plan.precision) == ("gray", "fp32")
    plan = first.autotune(plans, idle)
    assert (first.runtime_name, plan.precision) == ("openvino", "int8")
    assert plan.comparisons[0].speed == 1.5

    alternatives.networks.clear()
    second = model.engine(alternatives=alternatives.all)
    assert second.autotune(plans, idle) == plan
    assert second.runtime_name == "openvino"
    assert not any(network.batches for network in alternatives.networks)  # nothing is measured
    image = Decoder(GRAY, ImageReader(10_000)).decode(gray(1))
    reasons: list[BatchReason] = ["single", "partial"]
    for reason in reasons:
        second(Batch([image], reason))
    assert sum(len(network.batches) for network in alternatives.networks) == 2
    assert model.forward_passes == 0


def test_slow_alternative_is_reported_and_not_used(
    model: Model, plans: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    alternatives = Alternatives(monkeypatch)
    monkeypatch.setattr(Autotuner, "compare_speed", lambda *_: 1.1)
    engine = model.engine(alternatives=alternatives.all)
    plan = engine.autotune(plans, idle)
    assert (engine.runtime_name, plan.precision) == ("gray", "fp32")
    assert plan.measured
    assert "1.10 times as fast, less than 1.2 times" in plan.comparisons[0].reason
    assert "int8 in openvino not used: Its answers agree" in caplog.text


def test_models_with_and_without_alternatives_have_their_own_plans(
    model: Model, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.engine().autotune(plans, idle)
    for runtime in ("onnx", "openvino"):
        alternatives = Alternatives(monkeypatch, runtime)
        model.engine(alternatives=alternatives.all).autotune(plans, idle)
    assert len(cached_plans(plans)) == 3


def test_another_processor_has_its_own_plan(
    model: Model, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.engine().autotune(plans, idle)
    monkeypatch.setattr(engine_module, "cpu_model", lambda: "another one")
    model.engine().autotune(plans, idle)
    assert len(cached_plans(plans)) == 2


def test_stop_ends_the_comparison_of_answers(
    model: Model, plans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alternatives = Alternatives(monkeypatch)
    engine = model.engine(alternatives=alternatives.all)
    monkeypatch.setattr(probes, "COUNT", 10**9)
    thread = AutotuneThread(engine, plans, idle)
    while not any(network.batches for network in alternatives.networks):
        assert thread.is_alive()
        time.sleep(0.01)
    engine.stop()
    assert thread.result() is Interrupted
    assert cached_plans(plans) == []


def test_alternatives_get_half_of_the_memory(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = 16 * engine_module._ACTIVATIONS * 4 * 64 * 2  # 16 images in each of two runners
    sizes = [
        model.engine(alternatives=each, memory=memory, name="onnx", max_batch=64).max_batch
        for each in ((), Alternatives(monkeypatch).all)
    ]
    assert sizes == [16, 8]


def test_same_files_in_another_folder_share_the_plan(
    model: Model, plans: Path, tmp_path: Path
) -> None:
    model.engine().autotune(plans, idle)
    elsewhere = Model(tmp_path / "elsewhere")
    elsewhere.engine().autotune(plans, idle)
    assert elsewhere.forward_passes == 0


def test_measures_without_a_writable_cache(
    model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert model.engine().autotune(tmp_path / "file" / "plans", idle).measured
    assert "cannot be cached" in caplog.text


@pytest.fixture
def lock_requested(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set once a thread requests the lock."""
    requested = threading.Event()

    class ObservedLock(FileLock):
        def acquire(self, *args: Any, **options: Any) -> Any:
            requested.set()
            return super().acquire(*args, **options)

    monkeypatch.setattr(engine_module, "FileLock", ObservedLock)
    return requested


def test_one_worker_measures_while_others_wait_for_its_plan(
    model: Model, plans: Path, lock_requested: threading.Event
) -> None:
    model.engine().autotune(plans, idle)
    (path,) = cached_plans(plans)
    path.unlink()
    engine = model.engine()
    lock_requested.clear()
    plan = Plan(threads=1, runners=2, alone_threads=2, max_batch=3, measured=True)
    with FileLock(path.with_suffix(".lock")):
        thread = AutotuneThread(engine, plans, idle)
        assert lock_requested.wait(TIMEOUT)
        autotune.write_plan(path, plan)
    assert thread.result() == plan
    assert model.forward_passes == 0


def test_stop_ends_waiting_for_an_idle_moment(model: Model, plans: Path) -> None:
    engine = model.engine()
    checked = threading.Event()

    def never_idle() -> None:
        checked.set()

    thread = AutotuneThread(engine, plans, never_idle)
    assert checked.wait(TIMEOUT)
    engine.stop()
    assert thread.result() is Interrupted
    assert cached_plans(plans) == []
    assert model.engine().autotune(plans, idle).measured  # the lock was released


def test_stop_ends_waiting_for_another_worker(
    model: Model, plans: Path, lock_requested: threading.Event
) -> None:
    model.engine().autotune(plans, idle)
    (path,) = cached_plans(plans)
    path.unlink()
    engine = model.engine()
    lock_requested.clear()
    with FileLock(path.with_suffix(".lock")):
        thread = AutotuneThread(engine, plans, idle)
        assert lock_requested.wait(TIMEOUT)
        engine.stop()
        assert thread.result() is Interrupted


def test_image_during_a_measurement_repeats_it(model: Model, plans: Path) -> None:
    model.engine().autotune(plans, idle)
    undisturbed = model.forward_passes
    activity = iter([0, 1, 1, 2, 2, 3])
    last = 3
    model.engine(content=b"other").autotune(plans, lambda: next(activity, last))
    assert model.forward_passes == undisturbed + 3


@pytest.mark.parametrize(
    ("plan", "single_threads", "load_threads"),
    [
        (Plan(threads=1, runners=2, alone_threads=2, max_batch=4), 2, 1),
        (Plan(threads=1, runners=2, alone_threads=1, max_batch=4), 1, 1),
        (Plan(threads=2, runners=1, alone_threads=2, max_batch=4), 2, 2),
    ],
)
def test_networks_match_the_plan(
    model: Model, plans: Path, plan: Plan, single_threads: int, load_threads: int
) -> None:
    model.engine().autotune(plans, idle)
    (path,) = cached_plans(plans)
    autotune.write_plan(path, plan)
    engine = model.engine()
    engine.autotune(plans, idle)
    image = Decoder(GRAY, ImageReader(10_000)).decode(gray(1))
    cases: list[tuple[BatchReason, int]] = [("single", single_threads), ("partial", load_threads)]
    for reason, threads in cases:
        engine(Batch([image], reason))
        (used,) = [network.threads for network in model.networks if network.batches]
        assert used == threads
        for network in model.networks:
            network.batches.clear()


def test_waits_until_the_service_is_idle(model: Model, plans: Path) -> None:
    is_idle = threading.Event()
    checked = threading.Event()

    def activity() -> int | None:
        checked.set()
        return 0 if is_idle.is_set() else None

    thread = AutotuneThread(model.engine(), plans, activity)
    assert checked.wait(TIMEOUT)
    assert model.forward_passes == 0
    is_idle.set()
    assert isinstance(thread.result(), Plan)
    assert model.forward_passes > 0
