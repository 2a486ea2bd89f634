import argparse
import pickle
import re
import runpy
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from torch import nn

from backend.inference.models import networks
from training.package.kinds.torch_file import global_names, read_tensors
from training.package.model_spec import PackageError

WEIGHTS = {"fc.weight": torch.ones(3, 2), "fc.bias": torch.zeros(3)}


class Recorder:
    """An object whose unpickling would call a function."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("is_zip", [True, False])
def test_objects_beside_the_tensors_are_ignored(tmp_path: Path, is_zip: bool) -> None:
    content = {
        "args": argparse.Namespace(lr=0.1, out=Path("runs")),
        "best": np.float64(0.9),
        "history": np.arange(3),
        "state_dict": WEIGHTS,
    }
    path = tmp_path / "checkpoint.pth"
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    tensors = read_tensors(path)
    assert set(tensors) == set(WEIGHTS)
    torch.testing.assert_close(tensors["fc.weight"], WEIGHTS["fc.weight"])


@pytest.mark.parametrize("is_zip", [True, False])
def test_function_in_checkpoint_is_not_called(tmp_path: Path, is_zip: bool) -> None:
    path, trace = tmp_path / "checkpoint.pth", tmp_path / "called"
    content = {"state_dict": WEIGHTS, "hook": Recorder(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    assert any("touch" in name or "getattr" in name for name in global_names(path))
    try:
        tensors = read_tensors(path)
    except PackageError:
        tensors = {}
    assert set(tensors) in (set(), set(WEIGHTS))
    assert not trace.exists()


def save_with_protocol_4(path: Path) -> None:
    torch.save({"state_dict": WEIGHTS, "best": np.float64(0.9)}, path, pickle_protocol=4)


def save_arrays(path: Path) -> None:
    arrays = {name: tensor.numpy() for name, tensor in WEIGHTS.items()}
    path.write_bytes(pickle.dumps(arrays, protocol=4))


def save_arrays_by_torch(path: Path) -> None:
    torch.save({name: tensor.numpy() for name, tensor in WEIGHTS.items()}, path)


def save_plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(WEIGHTS, protocol=2))


@pytest.mark.parametrize(
    "save", [save_with_protocol_4, save_arrays, save_arrays_by_torch, save_plain_pickle]
)
def test_pickle_is_refused_with_lines_that_save_its_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[[Path], None]
) -> None:
    path = tmp_path / "it's.pth"
    save(path)
    with pytest.raises(PackageError, match=r"package pets weights\.pth") as error:
        read_tensors(path, "pets")
    recipe = re.search(r"python - <<'END'\n(.*?)\n    END\n", str(error.value), re.S)
    assert recipe is not None
    (tmp_path / "recipe.py").write_text(textwrap.dedent(recipe[1]))
    monkeypatch.chdir(tmp_path)
    runpy.run_path("recipe.py")
    tensors = read_tensors(tmp_path / "weights.pth")
    torch.testing.assert_close(tensors, WEIGHTS)


def test_incomplete_pickle_is_not_to_be_executed(tmp_path: Path) -> None:
    save_plain_pickle(tmp_path / "cut.pkl")
    content = (tmp_path / "cut.pkl").read_bytes()
    (tmp_path / "cut.pkl").write_bytes(content[: len(content) // 2])
    with pytest.raises(PackageError, match=r"cannot be read|more than tensors") as error:
        read_tensors(tmp_path / "cut.pkl")
    assert "type:" not in str(error.value)


def test_file_without_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"lr": 0.1}, tmp_path / "no.pth")
    with pytest.raises(PackageError, match="contains no state dict"):
        read_tensors(tmp_path / "no.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(PackageError, match=r"cannot be read|more than tensors"):
        read_tensors(tmp_path / "text.pth")


def save_script(network: nn.Module, path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(
            torch.jit.trace(  # type: ignore[no-untyped-call]
                network, torch.zeros(1, 3, 32, 32)
            ),
            path,
        )


def save_program(_: nn.Module, path: Path) -> None:
    """Write the entries of `torch.export.save` that tell what a file is."""
    with ZipFile(path, "w") as archive:
        archive.writestr("program/archive_format", "pt2")


def make_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3)).eval()


@pytest.mark.parametrize("save", [save_script, save_program])
def test_program_is_refused_with_lines_that_export_it(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "it's.pt2"
    save(make_network(), path)
    with pytest.raises(PackageError, match="is a program and is not executed") as error:
        read_tensors(path, "pets")
    assert "-m training.package pets model.onnx" in str(error.value)


def test_pickled_network_is_refused_with_lines_that_save_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    torch.save(networks.build("torchvision/squeezenet1_1", 3), path)
    with pytest.raises(PackageError, match="is a pickled network") as error:
        read_tensors(path, "pets")
    assert "torch.save(network.state_dict()" in str(error.value)
    assert "pets weights.pth --architecture torchvision/ARCHITECTURE" in str(error.value)


def test_network_in_a_dictionary_is_refused_with_lines_that_export_it(tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    torch.save({"model": make_network(), "epoch": 3}, path)
    with pytest.raises(PackageError, match=r"torch\.onnx\.export") as error:
        read_tensors(path)
    assert "network = torch.load(" in str(error.value)
    assert "['model'].float()" in str(error.value)
