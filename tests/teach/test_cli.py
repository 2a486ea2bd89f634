"""Tests of `python -m teach`."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from client import BackendError, ModelVersion
from teach import cli
from tests.teach.examples import BACKBONE, classes, embed


class FakeEmbedding:
    """Stands for LocalEmbedding and ServedEmbedding."""

    backbone = BACKBONE

    def __init__(self, *arguments: object) -> None:
        pass

    __call__ = staticmethod(embed)

    def __enter__(self) -> "FakeEmbedding":
        return self

    def __exit__(self, *_: object) -> None:
        pass


class FakeClient(FakeEmbedding):
    """Records the uploads."""

    url = "http://backend"

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.api_key = api_key

    def models(self) -> dict[str, SimpleNamespace]:
        return {name: SimpleNamespace(taught=name != "photos") for name in ("photos", "insects")}

    def put_model(self, name: str, manifest: Any, head: bytes, **fields: Any) -> ModelVersion:
        if self.api_key != "secret":
            raise BackendError(status=401, title="Unauthorized", detail="An API key is required.")
        uploads.append({"name": name, "labels": manifest["labels"], **fields})
        return ModelVersion(name, 3, datetime.now(UTC), None, None, True, {}, ())


uploads: list[dict[str, Any]] = []


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return class folders, and replace the model and the client."""
    monkeypatch.setattr("teach.local_embedding.LocalEmbedding", FakeEmbedding)
    monkeypatch.setattr("teach.served_embedding.ServedEmbedding", FakeEmbedding)
    monkeypatch.setattr(cli, "Client", FakeClient)
    monkeypatch.chdir(tmp_path)
    uploads.clear()
    for each in classes(["ants", "bees"], 6):
        path = tmp_path / "source" / each.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(each.content)
    return tmp_path / "source"


def test_model_folder_is_written(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([str(source), "--name", "insects", "--out", "out"]) == 0
    output = capsys.readouterr().out
    assert "12 images of 2 classes\naccuracy 100.0%, 95% interval 75.8% to 100.0%" in output
    manifest = json.loads(Path("out/insects/manifest.json").read_text())
    assert manifest["labels"] == ["ants", "bees"]


def test_existing_folder_is_kept(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out/insects").mkdir(parents=True)
    assert cli.main([str(source), "--name", "insects", "--out", "out"]) == 1
    assert "insects exists; use another --name" in capsys.readouterr().err


def test_model_is_uploaded(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(source), "--name", "insects", "--url", "http://backend", "--reason", "first"]
    assert cli.main([*arguments, "--api-key", "secret"]) == 0
    assert uploads[0]["labels"] == ["ants", "bees"]
    assert uploads[0]["reason"] == "first"
    assert "insects@3" in capsys.readouterr().out
    assert not Path("models").exists()


def test_refused_upload_is_an_error_in_one_line(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([str(source), "--name", "insects", "--url", "http://backend"]) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].endswith("401 Unauthorized: An API key is required.")
    assert "It is in the folder models/insects." in captured.out
    assert Path("models/insects/manifest.json").is_file()


@pytest.mark.parametrize("name", ["photos", "auto"])
def test_reserved_name_is_refused_before_any_work(
    source: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    arguments = [str(source), "--name", name, "--url", "http://backend", "--api-key", "secret"]
    assert cli.main(arguments) == 1
    captured = capsys.readouterr()
    assert f"The name {name} is reserved" in captured.err
    assert captured.out == ""


def test_refused_upload_keeps_the_written_folder(source: Path) -> None:
    arguments = [str(source), "--name", "insects", "--url", "http://backend", "--out", "out"]
    assert cli.main(arguments) == 1
    assert Path("out/insects/manifest.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["source", "--name", "Insects"], "lower-case letters"),
        (["missing", "--name", "insects"], "missing does not exist"),
        (["source/ants", "--name", "insects"], "contains no class folders"),
    ],
)
def test_wrong_input_is_an_error_in_one_line(
    source: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(arguments) == 1
    assert message in capsys.readouterr().err
