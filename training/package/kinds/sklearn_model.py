"""Pickles of scikit-learn, which are refused: reading one executes the code in it."""

import argparse
import shlex
from pathlib import Path
from typing import Final, NoReturn

from training.package.kinds.files import first_bytes, zip_names
from training.package.kinds.recipes import in_double_quotes
from training.package.model_spec import PackageError

_HEAD: Final = 1_000_000  # bytes in which a pickle names its first classes
_SUFFIXES: Final = (".joblib", ".pkl", ".pickle")
_COMPRESSED: Final = (b"\x78", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"]\x00\x00")
_MODULES: Final = (b"sklearn", b"joblib", b"xgboost", b"lightgbm")

_RECIPE: Final = """
    python -m pip install skl2onnx
    python -c "{load}; from skl2onnx import to_onnx; \\
from skl2onnx.common.data_types import FloatTensorType as Floats; \\
graph = to_onnx(model, initial_types=[('x', Floats([None, model.n_features_in_]))]); \\
open('model.onnx', 'wb').write(graph.SerializeToString())"
    .venv/bin/python -m training.package {name} model.onnx"""


def matches(path: Path) -> bool:
    """Return whether a file is a pickle that names scikit-learn, or a file of skops."""
    if not path.is_file():
        return False
    if path.suffix == ".skops" and "schema.json" in zip_names(path):
        return True
    start = first_bytes(path, _HEAD)
    if start[:1] == b"\x80":
        return any(name in start for name in _MODULES)
    return path.suffix in _SUFFIXES and start.startswith(_COMPRESSED)


def read(path: Path, options: argparse.Namespace) -> NoReturn:
    """Raise PackageError with the three lines that convert the model to ONNX."""
    file = repr(str(path))
    load = f"import joblib; model = joblib.load({file})"
    reason = "is a pickle, and reading one executes the code in it"
    if path.suffix == ".skops":
        load = (
            f"import skops.io as sio; model = sio.load({file}, "
            f"trusted=sio.get_untrusted_types(file={file}))"
        )
        reason = "is a model of scikit-learn, which must be converted to ONNX"
    recipe = _RECIPE.format(load=in_double_quotes(load), name=shlex.quote(options.name))
    raise PackageError(
        f"{path} {reason}. If you trust it, type, where scikit-learn has the version that saved "
        f"it:{recipe}"
    )
