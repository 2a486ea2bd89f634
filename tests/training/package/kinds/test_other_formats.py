"""Files of other formats are refused with what to do."""

import argparse
from pathlib import Path

import pytest

from training.package.kinds import detection, other_formats
from training.package.model_spec import PackageError


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("frozen.pb", r"tf2onnx\.convert --graphdef '.*frozen\.pb' .*--outputs OUTPUT:0"),
        ("net.mlmodel", "to ONNX"),
        ("net.engine", "package the ONNX file"),
        ("inference.pdmodel", r"--params_filename inference\.pdiparams"),
    ],
)
def test_refusal_says_what_to_do(tmp_path: Path, name: str, advice: str) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    path = folder / name
    path.write_bytes(b"\x0a\x05other")
    assert next(kind for kind in detection.KINDS if kind.matches(path)) is other_formats
    with pytest.raises(PackageError, match=advice):
        other_formats.read(path, argparse.Namespace(name="animals"))
