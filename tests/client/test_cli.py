"""The command `prism`."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.cli import main
from tests.client.fake_server import FakeResponse, serving
from tests.client.responses import BROKEN, CLASSIFICATION, MODELS, batch, problem
from tests.conftest import free_port

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRISM_URL", raising=False)
    monkeypatch.delenv("PRISM_API_KEY", raising=False)


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of a backend that classifies the first image and refuses the second one."""
    with serving(FakeResponse(status=404), models=MODELS,
                 classify=batch(CLASSIFICATION, BROKEN)) as (url, _):  # fmt: skip
        yield url


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"image")
    return tmp_path


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_table_has_a_row_per_label_and_errors_are_on_stderr(
    url: str, images: Path, capsys: Captured
) -> None:
    assert main(["classify", str(images), "--url", url, "--top-k", "2"]) == 1
    out, err = capsys.readouterr()
    assert lines(out) == [
        ["CONFIDENCE", "PREDICTION", "FILE"],
        ["90.0%", "7", f"{images}/a.png"],
        ["10.0%", "1", f"{images}/a.png"],
    ]
    assert err == f"{images}/b.png: It is damaged.\n"


def test_json_has_a_line_per_file(url: str, images: Path, capsys: Captured) -> None:
    assert main(["classify", str(images), "--url", url, "--json"]) == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["file"], first["prediction"]) == (f"{images}/a.png", "7")
    assert first["model"] == {"name": "m", "version": "1"}
    assert second == {
        "file": f"{images}/b.png",
        "error": {"status": 400, "code": "broken_image", "detail": "It is damaged."},
    }


def test_status_is_0_if_all_images_were_classified(images: Path, capsys: Captured) -> None:
    image = CLASSIFICATION | {"in_distribution": False}
    with serving(batch(image), models=MODELS) as (url, received):
        options = ["--url", url, "--api-key", "secret", "--model", "m", "--no-store"]
        assert main(["classify", str(images / "a.png"), *options]) == 0
    assert received[1].path == "/classify/batch?model=m&top_k=1&store=false"
    assert received[1].headers["X-API-Key"] == "secret"
    out, err = capsys.readouterr()
    assert "a.png  (not one of the model's classes)" in out
    assert err == ""


def test_url_and_key_come_from_the_environment(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(batch(CLASSIFICATION), models=MODELS) as (url, received):
        monkeypatch.setenv("PRISM_URL", url)
        monkeypatch.setenv("PRISM_API_KEY", "secret")
        assert main(["classify", str(images / "a.png")]) == 0
    assert {one.headers["X-API-Key"] for one in received} == {"secret"}


def test_names_that_a_terminal_cannot_show_are_escaped(tmp_path: Path, capsys: Captured) -> None:
    name = os.fsdecode(b"two\nlines \xff.png")
    (tmp_path / name).write_bytes(b"image")
    with serving(batch(CLASSIFICATION), models=MODELS) as (url, _):
        assert main(["classify", str(tmp_path), "--url", url]) == 0
        assert capsys.readouterr().out.endswith("/two\\nlines \\udcff.png\n")
        assert main(["classify", str(tmp_path), "--url", url, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["file"] == str(tmp_path / name)


def test_missing_file_and_empty_folder_are_named(
    url: str, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "empty").mkdir()
    paths = [str(tmp_path / name) for name in ("gone.png", "empty")]
    assert main(["classify", *paths, "--url", url]) == 1
    err = capsys.readouterr().err
    assert f"{paths[0]}: No such file or directory\n" in err
    assert f"{paths[1]}: contains no images\n" in err


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (FakeResponse(b"<html></html>"), "is not a Prism backend: the response is not JSON"),
        (FakeResponse(b"<html></html>", 404), "is not a Prism backend: 404 Not Found"),
        (problem(401, "An API key is required."), "Set PRISM_API_KEY to a key"),
        (problem(503, "It is loading."), "It is loading."),
        (FakeResponse(b"", 502), "502 Bad Gateway"),
    ],
)
def test_backend_that_cannot_classify_ends_the_command(
    images: Path, capsys: Captured, response: FakeResponse, message: str
) -> None:
    with serving(response) as (url, received):
        assert main(["classify", str(images), "--url", url]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"prism: {url}")
    assert message in err
    assert len(received) == 1


def test_unreachable_backend_and_unknown_model_are_named(
    url: str, images: Path, capsys: Captured
) -> None:
    closed = f"http://127.0.0.1:{free_port()}"
    assert main(["classify", str(images), "--url", closed]) == 1
    assert f"{closed} cannot be reached" in capsys.readouterr().err
    assert main(["classify", str(images), "--url", url, "--model", "x@2"]) == 1
    assert "does not serve the model 'x', only m" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the backend with --url or PRISM_URL"),
        (["--url", "localhost:8000"], "must start with http://"),
        (["--url", "http://localhost", "--api-key", "ü"], "printable ASCII"),
        (["--url", "http://localhost", "--top-k", "0"], "from 1 to 10000"),
    ],
)
def test_invalid_arguments_have_status_2(
    arguments: list[str], message: str, capsys: Captured
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["classify", "a.png", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_interrupt_has_the_status_of_shells(
    url: str, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("client.cli.JsonLines.write", interrupt)
    assert main(["classify", str(images), "--url", url, "--json"]) == 130
    assert capsys.readouterr().err == ""
