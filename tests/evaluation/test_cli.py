"""Tests of the command line."""

import errno
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from evaluation import cli, commands
from evaluation.commands import Options, create_report_folder
from evaluation.errors import ReportError
from evaluation.types import Failure, ModelOutput, Predictor
from tests.conftest import ROOT, free_port
from tests.evaluation.fakes import write_files
from tests.images import encoded, noise, seven

MODELS = f"--models-dir={ROOT / 'models'}"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with six sevens, one damaged and one labeled 1; cwd is its parent."""
    files = {f"7/{size}.png": encoded(seven(size)) for size in (60, 70, 80, 90)}
    write_files(
        tmp_path / "digits", {**files, "7/bad.png": b"damaged", "1/a.png": files["7/60.png"]}
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path / "digits"


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def read_report(folder: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(Path(folder, "report.json").read_text())
    return report


def test_local_model_is_evaluated(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "--model", "mnist-cnn", MODELS, "--out", "out") == 0
    report = read_report("out")
    assert report["records"] == 6
    assert report["metrics"]["accuracy"] == 0.8
    assert report["failures"]["count"] == 1
    output, errors = capsys.readouterr()
    assert "80.00% of 5 images" in output
    assert "1 (the first: 7/bad.png: " in output
    assert str(Path("out", "report.html")) in output
    assert errors == ""  # no progress bar without a terminal


def test_served_model_is_evaluated(data: Path, backend_url: str) -> None:
    assert run(data, "--url", backend_url, "--model", "mnist-cnn", "--out", "out") == 0
    assert read_report("out")["metrics"]["accuracy"] == 0.8


def test_default_report_folders_are_distinct(data: Path) -> None:
    for _ in range(2):
        assert run(data, "--model", ROOT / "models" / "mnist-cnn") == 0
    assert len(list(Path().glob("evaluation-mnist-cnn-*/report.html"))) == 2


def test_report_is_not_overwritten(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "--model", "mnist-cnn", MODELS, "--out", "out") == 0
    content = Path("out/report.json").read_bytes()
    assert run(data, "--model", "mnist-cnn", MODELS, "--out", "out") == 1
    assert capsys.readouterr().err == "error: out is not empty; choose another folder with --out\n"
    assert Path("out/report.json").read_bytes() == content


def test_limit_is_noted_in_the_report(data: Path) -> None:
    assert run(data, "--model", "mnist-cnn", MODELS, "--limit", 3, "--out", "out") == 0
    report = read_report("out")
    assert report["total"] == 3
    assert "3 of 6 images, evenly spaced" in report["notes"]


def test_outliers_are_evaluated(data: Path) -> None:
    with ZipFile("walls.zip", "w") as archive:
        archive.writestr("a.png", encoded(noise()))
        archive.writestr("deep/b.jpg", encoded(noise(), "JPEG"))
    outliers = ("--outliers", "walls.zip")
    assert run(data, "--model", "mnist-cnn", MODELS, *outliers, "--out", "out") == 0
    assert read_report("out")["outliers"]["answered"] == 2
    assert Path("out/outliers.csv").read_text().count("\n") == 3


def test_two_models_are_compared_on_the_same_images(
    data: Path, backend_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ("--compare", "mnist-cnn", f"{backend_url}#mnist-cnn")
    assert run(data, *both, MODELS, "--out", "out") == 0
    comparison = json.loads(Path("out/comparison.json").read_text())
    assert (comparison["pictures"], comparison["agreement"], comparison["p_value"]) == (5, 1.0, 1.0)
    assert comparison["b"] == f"{backend_url}#mnist-cnn"
    assert "McNemar's exact p" in capsys.readouterr().out
    assert run("--compare", "out/a", "out/b", "--out", "again") == 0
    assert json.loads(Path("again/comparison.json").read_text())["pictures"] == 5
    assert Path("again/comparison.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere", "--model", "mnist-cnn"], "nowhere does not exist"),
        (["digits", "--model", "nope"], "'nope' is not a model folder"),
        (["digits", "--url", "ftp://localhost"], "must start with http"),
        (["other", "--model", "mnist-cnn"], "the data has labels that are unknown to the model"),
        (["digits", "--model", "mnist-cnn", "--outliers", "nowhere"], "nowhere does not exist"),
        (["--compare", "digits", "other"], "digits is not a report: it has no report.json"),
    ],
)
def test_failure_prints_one_line_and_leaves_no_folder(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    write_files(data.parent, {"other/cow/a.png": encoded(seven())})
    assert run(*arguments, MODELS) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert reason in errors
    assert errors.count("\n") == 1
    assert not list(Path().glob("evaluation-*"))


def test_unreachable_backend_prints_one_line(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, "--url", f"http://127.0.0.1:{free_port()}") == 1
    assert "not reachable" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["digits"],
        ["digits", "--model", "a", "--compare", "a", "b"],
        ["digits", "--compare", "a", "b", "--outliers", "x"],
        ["digits", "--model", "a", "--limit", "0"],
        ["digits", "--url", "localhost:8000"],
        ["digits", "--model", "a", "--coverage", "0.5"],
        ["digits", "--model", "a", "--split", "validation"],
    ],
)
def test_invalid_arguments_exit_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


class InterruptedPredictor:
    """A predictor during whose second image Ctrl-C is pressed."""

    name, version, labels, task = "slow", "1", tuple("0123456789"), "single-label"
    label_ids = None

    def __call__(self, contents: Iterator[bytes]) -> Iterator[ModelOutput | Failure]:
        for number, _ in enumerate(contents, 1):
            if number == 2:
                signal.raise_signal(signal.SIGINT)
            probabilities = np.eye(10, dtype=np.float32)[7]
            yield ModelOutput(probabilities, None, None, None, None, 0.001)


def test_ctrl_c_writes_a_partial_report(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def open_fake(_: str, __: Options, ___: threading.Event) -> Iterator[Predictor]:
        yield InterruptedPredictor()

    monkeypatch.setattr(commands, "open_model", open_fake)
    previous = signal.getsignal(signal.SIGINT)
    assert run(data, "--model", "slow", "--out", "out") == 130
    assert signal.getsignal(signal.SIGINT) is previous
    assert read_report("out")["records"] == 2
    assert "This report is partial" in Path("out/report.html").read_text()
    assert "partial: stopped by the user" in capsys.readouterr().err
    # A comparison does not start the second model.
    assert run(data, "--compare", "a", "b", "--out", "both") == 130
    assert [path.name for path in Path("both").iterdir()] == ["a"]


def test_names_with_arbitrary_bytes_are_escaped(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = write_files(data.parent, {"odd/a.png": encoded(noise())}) / "odd"
    for folder in (data / "7", odd):
        (folder / os.fsdecode(b"x\xff.png")).write_bytes(b"damaged")
    (data / "7" / "\x1b[31mbroken.png").write_bytes(b"damaged")
    out = os.fsdecode(b"out\xfe")
    assert run(data, "--model", "mnist-cnn", MODELS, "--outliers", "odd", "--out", out) == 0
    output = capsys.readouterr().out
    assert r"(the first: 7/\x1b[31mbroken.png: " in output
    assert "\x1b" not in output
    assert r"out\xfe" in output
    failed = [failure["name"] for failure in read_report(out)["failures"]["first"]]
    assert failed == ["7/\x1b[31mbroken.png", "7/bad.png", r"7/x\xff.png"]
    page = Path(out, "report.html").read_text()
    assert r"7/x\xff.png" in page
    assert r"7/\x1b[31mbroken.png" in page
    assert "\x1b" not in page
    assert r"7/x\xff.png,7," in Path(out, "predictions.csv").read_text()
    assert r"x\xff.png," in Path(out, "outliers.csv").read_text()


def test_control_characters_in_errors_are_escaped(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("no\x1b[31mwhere\n", "--model", "mnist-cnn", MODELS) == 1
    errors = capsys.readouterr().err
    assert errors.startswith(r"error: no\x1b[31mwhere\x0a does not exist")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["LONG", "--model", "mnist-cnn"],
        ["digits", "--model", "LONG"],
        ["digits", "--model", "nope", "--models-dir", "LONG"],
        ["digits", "--model", "mnist-cnn", "--outliers", "LONG"],
        ["digits", "--model", "mnist-cnn", "--out", "LONG"],
        ["--compare", "LONG", "LONG"],
    ],
)
def test_overlong_path_prints_one_line(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(MODELS, *(argument.replace("LONG", "x" * 300) for argument in arguments)) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert "File name too long" in errors or "report.json cannot be read" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["shut/digits", "--model", "mnist-cnn"],
        ["digits", "--model", "shut/model"],
        ["digits", "--model", "mnist-cnn", "--out", "shut/out"],
    ],
)
def test_what_may_not_be_looked_at_is_one_line(
    data: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    look = Path.stat

    def shut(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if "shut" in path.parts:  # root, whom tests may run as, may look everywhere
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return look(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", shut)
    assert run(MODELS, *arguments) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert "Permission denied" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("packed", [True, False])
def test_single_class_with_a_subfolder_gets_a_hint(
    data: Path, capsys: pytest.CaptureFixture[str], packed: bool
) -> None:
    write_files(data.parent, {"deep/7/scans/a.png": encoded(seven())})
    with ZipFile("deep.zip", "w") as archive:
        archive.write("deep/7/scans/a.png", "7/scans/a.png")
    assert run("deep.zip" if packed else "deep", "--model", "mnist-cnn", MODELS) == 1
    assert capsys.readouterr().err == (
        "error: the data has labels that are unknown to the model: 'scans'; the model's labels are "
        "'0', '1', '2' ...; the top folder '7' was not used as a class: to use it, move its images "
        "out of its subfolders\n"
    )


def test_unknown_labels_mention_the_skipped_top_folder(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(data.parent, {"zoo/all/cow/a.png": encoded(seven())})
    assert run("zoo", "--model", "mnist-cnn", MODELS) == 1
    assert capsys.readouterr().err.endswith("...; the top folder 'all' was not used as a class\n")


def test_default_report_folders_get_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        with create_report_folder(None, "http://host/#a b") as folder:
            (folder / "report.json").touch()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 3
    assert all(name.startswith("evaluation-http-host-a-b-") for name in names)


def test_report_folder_that_cannot_be_created_raises_report_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ReportError, match="cannot be created: Not a directory"),
        create_report_folder(tmp_path / "file" / "x", "m"),
    ):
        pass


def test_new_report_folder_is_removed_if_it_stays_empty(tmp_path: Path) -> None:
    (tmp_path / "existing").mkdir()
    for name in ("new", "existing"):
        with pytest.raises(KeyError), create_report_folder(tmp_path / name, "m"):
            raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["existing"]
