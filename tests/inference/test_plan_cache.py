"""A plan is measured once in idle moments, kept, and found again."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from backend.inference import autotune
from backend.inference import engine as module
from backend.inference.autotune import Interrupted, Plan
from backend.inference.batcher import Batch, Reason
from backend.inference.decoder import Decoder
from backend.inference.engine import Engine
from backend.inference.images.image_reader import ImageReader
from backend.inference.models import artifact
from backend.inference.observer import SILENT
from tests.fake_models import GRAY, GrayRuntime, gray, write_model
from tests.inference.helpers import WAIT


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autotune, "_PROBE", 0.0)


class Model:
    """One model, loaded anew by each `engine`; `asked` counts the measured forward passes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.networks: list[GrayRuntime] = []

    def engine(
        self, *, content: bytes = b"", threads: int = 2, max_batch: int = 4, name: str = "gray"
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

        found = Engine(
            artifact.read(folder), load, Decoder(GRAY, ImageReader(10_000)), threads=threads,
            max_batch=max_batch, observer=SILENT,
        )  # fmt: skip
        found.spread()
        for network in self.networks:
            network.batches.clear()
        return found

    @property
    def asked(self) -> int:
        return sum(len(network.batches) for network in self.networks)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model(tmp_path / "models")


@pytest.fixture
def plans(tmp_path: Path) -> Path:
    return tmp_path / "data" / "plans"


def idle() -> int:
    return 0


def kept(plans: Path) -> list[Path]:
    return sorted(plans.glob("*.json"))


class Surveying(threading.Thread):
    """Surveys in a thread of its own; `found` is the plan, or Interrupted."""

    def __init__(self, engine: Engine, plans: Path, activity: Callable[[], int | None]) -> None:
        super().__init__()
        self.found: Plan | type[Interrupted] | None = None
        self._ask = partial(engine.survey, plans, activity)
        self.start()

    def run(self) -> None:
        try:
            self.found = self._ask()
        except Interrupted:
            self.found = Interrupted

    def result(self) -> Plan | type[Interrupted] | None:
        self.join(WAIT)
        assert not self.is_alive()
        return self.found


def test_what_was_measured_is_kept_and_not_measured_again(model: Model, plans: Path) -> None:
    first = model.engine()
    found = first.survey(plans, idle)
    assert found.measured
    assert model.asked > 0
    assert first.plan == found
    (path,) = kept(plans)
    assert autotune.read(path) == found

    second = model.engine()
    assert second.survey(plans, idle) == second.plan == found
    assert model.asked == 0


def test_a_damaged_plan_is_measured_anew_and_mended(model: Model, plans: Path) -> None:
    found = model.engine().survey(plans, idle)
    (path,) = kept(plans)
    path.write_text("{")
    again = model.engine().survey(plans, idle)
    assert model.asked > 0
    assert autotune.read(path) == again
    assert again.measured is found.measured is True


@pytest.mark.parametrize(
    "other",
    [{"content": b"other"}, {"threads": 3}, {"max_batch": 2}, {"name": "another-runtime"}],
)
def test_another_model_runtime_or_number_of_processors_is_measured_for_itself(
    model: Model, plans: Path, other: dict[str, Any]
) -> None:
    model.engine().survey(plans, idle)
    model.engine(**other).survey(plans, idle)
    assert model.asked > 0
    assert len(kept(plans)) == 2


def test_the_same_files_in_another_folder_are_the_same_model(
    model: Model, plans: Path, tmp_path: Path
) -> None:
    model.engine().survey(plans, idle)
    elsewhere = Model(tmp_path / "elsewhere")
    elsewhere.engine().survey(plans, idle)
    assert elsewhere.asked == 0


def test_where_nothing_can_be_kept_it_measures_all_the_same(
    model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert model.engine().survey(tmp_path / "file" / "plans", idle).measured
    assert "cannot be kept" in caplog.text


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once somebody asks for the lock."""
    asked = threading.Event()

    class Heard(FileLock):
        def acquire(self, *args: Any, **options: Any) -> Any:
            asked.set()
            return super().acquire(*args, **options)

    monkeypatch.setattr(module, "FileLock", Heard)
    return asked


def test_one_measures_while_the_others_wait_for_what_it_finds(
    model: Model, plans: Path, waiting: threading.Event
) -> None:
    model.engine().survey(plans, idle)
    (path,) = kept(plans)
    path.unlink()
    engine = model.engine()
    waiting.clear()
    found = Plan(threads=1, runners=2, alone_threads=2, max_batch=3, measured=True)
    with FileLock(path.with_suffix(".lock")):
        survey = Surveying(engine, plans, idle)
        assert waiting.wait(WAIT)
        autotune.write(path, found)
    assert survey.result() == found
    assert model.asked == 0


def test_stopping_ends_a_measurement_that_finds_no_idle_moment(model: Model, plans: Path) -> None:
    engine = model.engine()
    looked = threading.Event()

    def never_idle() -> None:
        looked.set()

    survey = Surveying(engine, plans, never_idle)
    assert looked.wait(WAIT)
    engine.stop()
    assert survey.result() is Interrupted
    assert kept(plans) == []
    assert model.engine().survey(plans, idle).measured  # the lock was given back


def test_stopping_ends_waiting_for_another_that_measures(
    model: Model, plans: Path, waiting: threading.Event
) -> None:
    model.engine().survey(plans, idle)
    (path,) = kept(plans)
    path.unlink()
    engine = model.engine()
    waiting.clear()
    with FileLock(path.with_suffix(".lock")):
        survey = Surveying(engine, plans, idle)
        assert waiting.wait(WAIT)
        engine.stop()
        assert survey.result() is Interrupted


def test_a_picture_that_comes_meanwhile_has_it_measured_again(model: Model, plans: Path) -> None:
    model.engine().survey(plans, idle)
    undisturbed = model.asked
    looks = iter([0, 1, 1, 2, 2, 3])
    last = 3
    model.engine(content=b"other").survey(plans, lambda: next(looks, last))
    assert model.asked == undisturbed + 3


@pytest.mark.parametrize(
    ("found", "alone", "together"),
    [
        (Plan(threads=1, runners=2, alone_threads=2, max_batch=4), 2, 1),
        (Plan(threads=1, runners=2, alone_threads=1, max_batch=4), 1, 1),
        (Plan(threads=2, runners=1, alone_threads=2, max_batch=4), 2, 2),
    ],
)
def test_the_networks_are_those_of_the_plan(
    model: Model, plans: Path, found: Plan, alone: int, together: int
) -> None:
    model.engine().survey(plans, idle)
    (path,) = kept(plans)
    autotune.write(path, found)
    engine = model.engine()
    engine.survey(plans, idle)
    picture = Decoder(GRAY, ImageReader(10_000)).decode(gray(1))
    cases: list[tuple[Reason, int]] = [("single", alone), ("partial", together)]
    for reason, threads in cases:
        engine(Batch([picture], reason))
        (used,) = [network.threads for network in model.networks if network.batches]
        assert used == threads
        for network in model.networks:
            network.batches.clear()


def test_it_waits_for_a_quiet_moment(model: Model, plans: Path) -> None:
    inside = threading.Event()
    looked = threading.Event()

    def activity() -> int | None:
        looked.set()
        return 0 if inside.is_set() else None

    survey = Surveying(model.engine(), plans, activity)
    assert looked.wait(WAIT)
    assert model.asked == 0
    inside.set()
    assert isinstance(survey.result(), Plan)
    assert model.asked > 0
