"""What is typed, and what comes of it."""

import errno
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from evaluation import cli, commands
from evaluation.predictors.addresses import Wiring
from evaluation.types import Answer, Failure, Predictor
from tests.conftest import ROOT, free_port
from tests.evaluation.fakes import write_files
from tests.images import encoded, noise, seven

MODELS = f"--models-dir={ROOT / 'models'}"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six sevens, one of them damaged and one called a one; commands run beside them."""
    files = {f"7/{size}.png": encoded(seven(size)) for size in (60, 70, 80, 90)}
    write_files(
        tmp_path / "digits", {**files, "7/bad.png": b"damaged", "1/a.png": files["7/60.png"]}
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path / "digits"


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def report(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(folder, "report.json").read_text())
    return found


def test_a_model_folder_is_measured(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "--model", "mnist-cnn", MODELS, "--out", "found") == 0
    found = report("found")
    assert found["records"] == 6
    assert found["metrics"]["accuracy"] == 0.8
    assert found["failures"]["count"] == 1
    output, errors = capsys.readouterr()
    assert "80.00% of 5 pictures" in output
    assert "1 (the first: 7/bad.png: " in output
    assert str(Path("found", "report.html")) in output
    assert errors == ""  # no bar where nobody looks


def test_a_backend_is_measured(data: Path, backend_url: str) -> None:
    assert run(data, "--url", backend_url, "--model", "mnist-cnn", "--out", "found") == 0
    assert report("found")["metrics"]["accuracy"] == 0.8


def test_each_report_goes_to_a_folder_of_its_own(data: Path) -> None:
    for _ in range(2):
        assert run(data, "--model", ROOT / "models" / "mnist-cnn") == 0
    assert len(list(Path().glob("evaluation-mnist-cnn-*/report.html"))) == 2


def test_no_report_is_written_over(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "--model", "mnist-cnn", MODELS, "--out", "found") == 0
    before = Path("found/report.json").read_bytes()
    assert run(data, "--model", "mnist-cnn", MODELS, "--out", "found") == 1
    assert capsys.readouterr().err == "error: found is not empty; name another folder with --out\n"
    assert Path("found/report.json").read_bytes() == before


def test_a_part_is_measured_and_the_report_says_so(data: Path) -> None:
    assert run(data, "--model", "mnist-cnn", MODELS, "--limit", 3, "--out", "found") == 0
    found = report("found")
    assert found["total"] == 3
    assert "3 of 6 pictures, evenly spread" in found["notes"]


def test_outliers_are_measured_too(data: Path) -> None:
    with ZipFile("walls.zip", "w") as archive:
        archive.writestr("a.png", encoded(noise()))
        archive.writestr("deep/b.jpg", encoded(noise(), "JPEG"))
    outliers = ("--outliers", "walls.zip")
    assert run(data, "--model", "mnist-cnn", MODELS, *outliers, "--out", "found") == 0
    assert report("found")["outliers"]["answered"] == 2
    assert Path("found/outliers.csv").read_text().count("\n") == 3


def test_two_models_are_compared_on_the_same_pictures(
    data: Path, backend_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ("--compare", "mnist-cnn", f"{backend_url}#mnist-cnn")
    assert run(data, *both, MODELS, "--out", "found") == 0
    found = json.loads(Path("found/comparison.json").read_text())
    assert (found["pictures"], found["agreement"], found["p_value"]) == (5, 1.0, 1.0)
    assert found["b"] == f"{backend_url}#mnist-cnn"
    assert "McNemar's exact p" in capsys.readouterr().out
    assert run("--compare", "found/a", "found/b", "--out", "again") == 0
    assert json.loads(Path("again/comparison.json").read_text())["pictures"] == 5
    assert Path("again/comparison.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere", "--model", "mnist-cnn"], "nowhere: there is nothing at this path"),
        (["digits", "--model", "nope"], "'nope' is no model folder"),
        (["digits", "--url", "ftp://localhost"], "must start with http"),
        (["other", "--model", "mnist-cnn"], "the model does not know these labels of the data"),
        (["digits", "--model", "mnist-cnn", "--outliers", "nowhere"], "there is nothing"),
        (["--compare", "digits", "other"], "digits is no report: it has no report.json"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing_behind(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    write_files(data.parent, {"other/cow/a.png": encoded(seven())})
    assert run(*arguments, MODELS) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert reason in errors
    assert errors.count("\n") == 1
    assert not list(Path().glob("evaluation-*"))


def test_a_backend_that_is_not_there_is_one_line(
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
def test_what_is_asked_wrongly_is_told_before_anything_is_done(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err


class Interrupted:
    """A model that is sent Ctrl-C when it has answered two pictures."""

    name, version, labels = "slow", "1", tuple("0123456789")

    def __call__(self, contents: Iterator[bytes]) -> Iterator[Answer | Failure]:
        for number, _ in enumerate(contents, 1):
            if number == 2:
                signal.raise_signal(signal.SIGINT)
            probabilities = np.eye(10, dtype=np.float32)[7]
            yield Answer(probabilities, None, None, None, None, 0.001)


def test_ctrl_c_leaves_a_report_of_what_was_measured(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def opened(_: str, __: Wiring) -> Iterator[Predictor]:
        yield Interrupted()

    monkeypatch.setattr(commands, "open_model", opened)
    before = signal.getsignal(signal.SIGINT)
    assert run(data, "--model", "slow", "--out", "found") == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert report("found")["records"] == 2
    assert "This report is partial" in Path("found/report.html").read_text()
    assert "partial: it was stopped by the user" in capsys.readouterr().err
    # Of a comparison the second model is not begun.
    assert run(data, "--compare", "a", "b", "--out", "both") == 130
    assert [path.name for path in Path("both").iterdir()] == ["a"]


def test_names_of_any_bytes_lose_nothing_and_do_nothing_to_the_terminal(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = write_files(data.parent, {"odd/a.png": encoded(noise())}) / "odd"
    for folder in (data / "7", odd):
        (folder / os.fsdecode(b"x\xff.png")).write_bytes(b"damaged")
    (data / "7" / "\x1b[31mbroken.png").write_bytes(b"damaged")
    found = os.fsdecode(b"found\xfe")
    assert run(data, "--model", "mnist-cnn", MODELS, "--outliers", "odd", "--out", found) == 0
    output = capsys.readouterr().out
    assert r"(the first: 7/\x1b[31mbroken.png: " in output
    assert "\x1b" not in output
    assert r"found\xfe" in output
    named = [one["name"] for one in report(found)["failures"]["first"]]
    assert named == ["7/\x1b[31mbroken.png", "7/bad.png", r"7/x\xff.png"]
    page = Path(found, "report.html").read_text()
    assert r"7/x\xff.png" in page
    assert r"7/\x1b[31mbroken.png" in page
    assert "\x1b" not in page
    assert r"7/x\xff.png,7," in Path(found, "predictions.csv").read_text()
    assert r"x\xff.png," in Path(found, "outliers.csv").read_text()


def test_an_error_names_odd_labels_without_touching_the_terminal(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("no\x1b[31mwhere\n", "--model", "mnist-cnn", MODELS) == 1
    errors = capsys.readouterr().err
    assert errors.startswith(r"error: no\x1b[31mwhere\x0a: ")
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
def test_a_name_that_is_too_long_is_one_line(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(MODELS, *(one.replace("LONG", "x" * 300) for one in arguments)) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert "File name too long" in errors or "report.json cannot be read" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["shut/digits", "--model", "mnist-cnn"],
        ["digits", "--model", "shut/model"],
        ["digits", "--model", "mnist-cnn", "--out", "shut/found"],
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
def test_a_single_class_with_a_folder_in_it_is_told_what_was_passed_over(
    data: Path, capsys: pytest.CaptureFixture[str], packed: bool
) -> None:
    write_files(data.parent, {"deep/7/scans/a.png": encoded(seven())})
    with ZipFile("deep.zip", "w") as archive:
        archive.write("deep/7/scans/a.png", "7/scans/a.png")
    assert run("deep.zip" if packed else "deep", "--model", "mnist-cnn", MODELS) == 1
    assert capsys.readouterr().err == (
        "error: the model does not know these labels of the data: 'scans'; it knows '0', '1', '2' "
        "...; the folder '7' above these was passed over: if it is the class, its pictures have to "
        "lie in it, not deeper\n"
    )


def test_labels_that_are_not_known_come_with_the_folder_that_was_passed_over(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(data.parent, {"zoo/all/cow/a.png": encoded(seven())})
    assert run("zoo", "--model", "mnist-cnn", MODELS) == 1
    assert capsys.readouterr().err.endswith("...; the folder 'all' above these was passed over\n")
