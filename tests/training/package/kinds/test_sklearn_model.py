"""Pickles are refused without being read, with the lines that convert them."""

import argparse
import pickle
from pathlib import Path

import joblib
import pytest
from sklearn.linear_model import LogisticRegression

from training.package.kinds import detection, sklearn_model
from training.package.model_spec import PackageError

OPTIONS = argparse.Namespace(name="animals")


class Attack:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("compress", [0, 3])
def test_pickle_is_refused_with_the_lines_that_convert_it(tmp_path: Path, compress: int) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(LogisticRegression(), path, compress=compress)
    assert next(kind for kind in detection.KINDS if kind.matches(path)) is sklearn_model
    with pytest.raises(PackageError, match="executes the code in it") as refusal:
        sklearn_model.read(path, OPTIONS)
    for line in ("pip install skl2onnx", "to_onnx(model", "training.package animals model.onnx"):
        assert line in str(refusal.value)


def test_pickle_is_not_executed(tmp_path: Path) -> None:
    target = tmp_path / "executed"
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps([Attack(target), LogisticRegression()]))
    assert sklearn_model.matches(path)
    with pytest.raises(PackageError):
        sklearn_model.read(path, OPTIONS)
    assert not target.exists()


def test_path_is_quoted_in_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "it's $HOME `x`.pkl"
    path.write_bytes(pickle.dumps(LogisticRegression()))
    with pytest.raises(PackageError) as refusal:
        sklearn_model.read(path, OPTIONS)
    assert r"\$HOME \`x\`.pkl" in str(refusal.value)


def test_other_pickles_are_not_of_this_kind(tmp_path: Path) -> None:
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps({"weight": 1}))
    assert not sklearn_model.matches(path)
    assert not sklearn_model.matches(tmp_path)
