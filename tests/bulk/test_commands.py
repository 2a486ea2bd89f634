"""Jobs from source to rows: one row per image, resumed, refused, measured."""

import hashlib
import json
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest

from backend.api.errors import ERROR_TABLE
from bulk import commands, job, local
from bulk.cli import main
from bulk.errors import CODES, ClusterError, JobError, SourceError, StorageError
from bulk.operator import UnitClassifier
from bulk.storage import Storage
from evaluation.errors import LabelError, PredictorError
from tests.bulk.fakes import FakeLoader, gray_files, options, read_rows, run, write_tar
from tests.evaluation.fakes import write_files
from tests.fake_models import gray


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Classify in the test's process; return the list of the units done."""
    units: list[int] = []

    def run_here(job: Any, pending: Any, load: Any, **options: Any) -> None:
        with UnitClassifier(job, load) as classifier:
            for unit in pending:
                if options["is_stopped"]():
                    return
                classifier(unit)
                units.append(unit)

    monkeypatch.setattr(local, "run", run_here)
    return units


def test_every_image_has_one_row(tmp_path: Path, in_process: list[int]) -> None:
    bad = {"empty.png": b"", "text.png": b"hello", "cut.png": gray(1)[:40]}
    write_files(tmp_path / "in", {**gray_files(100), **bad})
    write_tar(tmp_path / "in" / "x.tar", {"seven.png": gray(7)})
    assert run(tmp_path / "in", tmp_path) == 0
    rows = read_rows(tmp_path / "out")
    assert len(rows) == 104
    by_path = {row["path"]: row for row in rows}
    assert len(by_path) == 104
    for path, code in [
        ("empty.png", "empty_file"),
        ("text.png", "unsupported_image"),
        ("cut.png", "truncated_image"),
    ]:
        assert by_path[path]["error"] == code
        assert by_path[path]["prediction"] is None
        assert by_path[path]["sha256"] == hashlib.sha256(bad[path]).hexdigest()
    seven = by_path["seven.png"]
    assert (seven["container"], seven["prediction"], seven["error"]) == ("x.tar", "7", None)
    assert seven["prediction_set"] == ["7"]
    assert seven["in_distribution"] is True
    assert seven["top"][0]["label"] == "7"
    assert len(seven["top"]) == 3
    assert seven["confidence"] == seven["top"][0]["probability"]
    assert pq.read_schema(tmp_path / "out/part-000000.parquet").metadata[b"prism.model"] == b"fake"


def test_finished_parts_are_not_classified_again(tmp_path: Path, in_process: list[int]) -> None:
    write_files(tmp_path / "in", gray_files(10))
    assert run(tmp_path / "in", tmp_path, part_images=2) == 0
    first = read_rows(tmp_path / "out")
    (tmp_path / "out/part-000003.parquet").unlink()
    in_process.clear()
    # The listing is that of the first run: a new image belongs to another job.
    (tmp_path / "in/new.png").write_bytes(gray(3))
    assert run(tmp_path / "in", tmp_path, part_images=2) == 0
    assert in_process == [3]
    again = read_rows(tmp_path / "out")
    assert [row | {"ms": 0} for row in again] == [row | {"ms": 0} for row in first]


def test_interrupted_listing_starts_again(tmp_path: Path, in_process: list[int]) -> None:
    write_files(tmp_path / "in", gray_files(3))
    write_files(tmp_path / "out", {"_listing-abc": b"half", "_work.parquet": b"old"})
    assert run(tmp_path / "in", tmp_path) == 0
    assert len(read_rows(tmp_path / "out")) == 3
    assert not list((tmp_path / "out").glob("_listing-*"))


def test_other_settings_are_refused(tmp_path: Path, in_process: list[int]) -> None:
    write_files(tmp_path / "in", gray_files(3))
    run(tmp_path / "in", tmp_path)
    with pytest.raises(JobError, match="top_k was 3, not 4"):
        run(tmp_path / "in", tmp_path, top_k=4)
    with pytest.raises(JobError, match="another job"):
        run(tmp_path / "in", tmp_path, tasks=2)


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, {"in/a.png": gray(1), "out/thesis.docx": b""})
    with pytest.raises(JobError, match=r"not empty \(thesis.docx\)"):
        run(tmp_path / "in", tmp_path)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.docx"]


def test_folder_in_use_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, {"in/a.png": gray(1)})
    lock = job.lock_job(str(tmp_path / "out"), 0)
    assert lock is not None
    with lock, pytest.raises(JobError, match="another process"):
        run(tmp_path / "in", tmp_path)


def test_source_without_images_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, {"in/a.txt": b""})
    with pytest.raises(SourceError, match="contains no images"):
        run(tmp_path / "in", tmp_path)


def test_ctrl_c_leaves_complete_parts(
    tmp_path: Path, in_process: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "in", gray_files(10))
    write = Storage.write

    def write_and_interrupt(self: Storage, name: str, data: bytes) -> None:
        write(self, name, data)
        if name == "part-000001.parquet":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Storage, "write", write_and_interrupt)
    assert run(tmp_path / "in", tmp_path, part_images=2) == 130
    assert len(read_rows(tmp_path / "out")) == 4
    assert run(tmp_path / "in", tmp_path, part_images=2) == 0
    assert len(read_rows(tmp_path / "out")) == 10


def test_storage_that_fails_ends_the_job_without_rows(
    tmp_path: Path, in_process: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "in", gray_files(3))

    def fail(*_: object) -> bytes:
        raise StorageError("no response")

    monkeypatch.setattr(Storage, "read", fail)
    with pytest.raises(StorageError):
        run(tmp_path / "in", tmp_path)
    assert not list((tmp_path / "out").glob("part-*"))


def test_results_behind_a_url(tmp_path: Path, in_process: list[int]) -> None:
    write_files(tmp_path / "in", gray_files(5))
    assert run(tmp_path / "in", tmp_path, out="memory://bulk-out", part_images=2) == 0
    assert Storage("memory://bulk-out").names() == [
        "_job.json",
        "_work.parquet",
        *(f"part-00000{unit}.parquet" for unit in range(3)),
    ]


def test_tasks_write_one_data_set(tmp_path: Path, in_process: list[int]) -> None:
    write_files(tmp_path / "in", gray_files(40))
    for task in range(3):
        assert run(tmp_path / "in", tmp_path, task=task, tasks=3) == 0
    assert len({row["path"] for row in read_rows(tmp_path / "out")}) == 40


def test_results_in_the_folder_of_the_images_are_no_source(
    tmp_path: Path, in_process: list[int]
) -> None:
    write_files(tmp_path / "in", gray_files(6))
    for task in range(2):
        out = str(tmp_path / "in/of tasks")
        assert run(tmp_path / "in", tmp_path, out=out, task=task, tasks=2) == 0
    out = str(tmp_path / "in/all")
    assert run(tmp_path / "in", tmp_path, out=out) == 0
    for folder in ("of tasks", "all"):
        assert len(read_rows(tmp_path / "in" / folder)) == 6


def test_labels_give_the_figures_of_evaluation(
    tmp_path: Path, in_process: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluation.evaluate import evaluate
    from evaluation.predictors.local import LocalPredictor
    from evaluation.report import to_json_object
    from evaluation.sources import open_source

    files = {f"{digit}/{side}.png": gray(digit, side) for digit in range(4) for side in (8, 9, 10)}
    files |= {"5/wrong.png": gray(6), "5/bad.png": b"text", "unlabeled/x.png": gray(2)}
    write_files(tmp_path / "in", files)
    assert run(tmp_path / "in", tmp_path, labels=True) == 0
    found = json.loads((tmp_path / "out/_report/report.json").read_text())

    loader = FakeLoader(tmp_path / "models/fake")
    monkeypatch.setattr("evaluation.predictors.local.load_classifier", lambda *_: loader(1))
    with LocalPredictor(loader.folder) as predictor, open_source(tmp_path / "in") as source:
        expected = to_json_object(evaluate(source.samples(), predictor))
    for key in ("metrics", "prediction_sets", "flagged", "records"):
        assert found[key] == json.loads(json.dumps(expected[key])), key
    assert found["metrics"]["accuracy"] == 12 / 13


def test_report_is_next_to_results_behind_a_url(
    tmp_path: Path, in_process: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path / "in", {"3/a.png": gray(3), "4/b.png": gray(4)})
    assert run(tmp_path / "in", tmp_path, out="memory://bulk-report", labels=True) == 0
    content = Storage("memory://bulk-report").read("_report/report.json", 1_000_000)
    assert json.loads(content or b"")["metrics"]["accuracy"] == 1
    assert "memory://bulk-report/_report/report.json" in capsys.readouterr().out
    assert not Path("_report").exists()


def test_labels_of_an_unlabeled_source_are_refused(tmp_path: Path, in_process: list[int]) -> None:
    write_files(tmp_path / "in", gray_files(3))
    with pytest.raises(SourceError, match="has no labels; --labels requires class folders"):
        run(tmp_path / "in", tmp_path, labels=True)
    assert not in_process


def test_unknown_class_ends_before_classification(tmp_path: Path, in_process: list[int]) -> None:
    write_files(tmp_path, {"in/seven/a.png": gray(7)})
    with pytest.raises(LabelError, match="'seven'"):
        run(tmp_path / "in", tmp_path, labels=True)
    assert not in_process


def test_error_codes_are_those_of_the_service() -> None:
    assert {kind: ERROR_TABLE[kind][1] for kind in CODES} == dict(CODES)


def test_command_names_the_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tmp_path), "--model", "nope", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--models-dir", str(tmp_path)]) == 1
    assert "'nope' is not a model folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [["--task-index", "3", "--task-count", "2"], ["--ray", "auto", "--workers", "2"]]
)
def test_contradicting_options_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["in", "--model", "m", "--out", "out", *arguments])
    assert error.value.code == 2


def test_missing_ray_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    write_files(tmp_path, {"in/a.png": gray(1)})
    with pytest.raises(ClusterError, match="bulk-ray"):
        run(tmp_path / "in", tmp_path, ray="auto")


def test_other_version_of_ray_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("ray")
    old.__version__ = "2.9.3"  # type: ignore[attr-defined]
    for name in ("ray", "ray.data", "ray.exceptions"):
        monkeypatch.setitem(sys.modules, name, old)
    write_files(tmp_path, {"in/a.png": gray(1)})
    with pytest.raises(ClusterError, match=r"Ray 2\.9\.3 is installed; .* 2\.51"):
        run(tmp_path / "in", tmp_path, ray="auto")


def test_model_without_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PredictorError):
        commands.run(options(tmp_path, tmp_path))
