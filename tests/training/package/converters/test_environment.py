"""Converters run as processes of their own, in an environment that is created once."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.package.onnx_graphs import mean_of_channels, save
from training.package.converters import environment
from training.package.converters.environment import TENSORFLOW, Converter, RefusedError
from training.package.model_spec import PackageError

SCRIPT = """
import json, os, shutil, sys
kind, source, target = sys.argv[1:]
if kind == "crash":
    raise ValueError("the reason")
if kind == "refuse":
    facts = {"error": "not this one"}
else:
    shutil.copy(source, target)
    facts = {"variables": sorted(os.environ)}
open(target.replace(".onnx", ".json"), "w").write(json.dumps(facts))
"""


@pytest.fixture
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Converter:
    """Return a converter whose environment is that of the tests."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    monkeypatch.setattr(environment, "prepare", lambda _: Path(sys.executable))
    return replace(TENSORFLOW, script=script)


def test_graph_and_facts_are_returned(
    tmp_path: Path, converter: Converter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    source = save(mean_of_channels(), tmp_path / "g.onnx")
    model, facts = environment.convert(converter, "copy", source)
    assert model.graph.output[0].name == "scores"
    assert "WANDB_API_KEY" not in facts["variables"]


def test_refusal_and_failure_are_reported(tmp_path: Path, converter: Converter) -> None:
    source = save(mean_of_channels(), tmp_path / "g.onnx")
    with pytest.raises(RefusedError, match="not this one"):
        environment.convert(converter, "refuse", source)
    with pytest.raises(PackageError, match=r"could not be converted.*the reason"):
        environment.convert(converter, "crash", source)


def test_failed_installation_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("anything==1\n")
    commands = []

    def run(command: list[str], *_: object, **__: object) -> object:
        commands.append(command)
        return type("Done", (), {"returncode": 1, "stderr": "ERROR: No matching distribution"})

    monkeypatch.setattr(environment, "_run", run)
    monkeypatch.setattr("venv.create", lambda folder, **_: folder.mkdir())
    with pytest.raises(PackageError, match="No matching distribution; check the network"):
        environment.prepare(replace(TENSORFLOW, requirements=requirements))
    assert commands[0][-2:] == ["--requirement", str(requirements)]
    assert [path.suffix for path in environment.cache_folder().iterdir()] == [".lock"]
    assert "1.6 GB of disk" in capsys.readouterr().err


def test_environment_is_created_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    commands = []

    def run(command: list[str], *_: object) -> object:
        commands.append(command)
        return type("Done", (), {"returncode": 0, "stderr": ""})

    monkeypatch.setattr(environment, "_run", run)
    monkeypatch.setattr("venv.create", lambda folder, **_: folder.mkdir())
    assert environment.prepare(TENSORFLOW) == environment.prepare(TENSORFLOW)
    assert len(commands) == 2  # requirements, and what is installed without dependencies
    assert json.dumps(commands[1][-2:]) == '["--no-deps", "tf-keras==2.19.0"]'
