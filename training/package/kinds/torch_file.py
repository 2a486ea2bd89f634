"""Reads the tensors of PyTorch's files without executing anything that a file contains.

A file of `torch.save` is a pickle, whose globals name functions that unpickling would call. torch's
restricted unpickler (`weights_only=True`) only builds tensors and plain containers. Objects of
other libraries beside the tensors, such as arguments of a training program, become stand-ins.
Programs (TorchScript, torch.export) and pickled networks are refused with the lines to type.
"""

import pickle
import pickletools
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

import torch
from torch import Tensor, nn

from backend.inference.errors import ArtifactError
from backend.inference.models import networks
from backend.inference.models.checkpoint import read_state_dict
from training.package.kinds import recipes
from training.package.kinds.files import first_bytes, zip_names
from training.package.model_spec import PackageError

_PICKLES: Final = 4  # that torch.save wrote one after another before torch 1.6
_MAX_SHOWN: Final = 5  # names of tensors in a message
_NETWORK: Final = re.compile(r"^(torch\.nn\.modules\.|__main__\.)")


def read_tensors(path: Path, name: str = "NAME") -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name.

    `name` is that of the model in the lines to type. Raise PackageError for a program, a pickled
    network and a file without a state dict.
    """
    if path.suffix == ".safetensors":
        try:
            return read_state_dict(path)
        except ArtifactError as error:
            raise PackageError(str(error)) from error
    _refuse_program(path, name)
    names = global_names(path)
    try:
        with _stand_ins(names):
            return read_state_dict(path)
    except ArtifactError as error:
        if load := _describe_load(path):
            _refuse_network(path, name, names, _find_network(path, names), load)
            has_objects = isinstance(error.__cause__, pickle.UnpicklingError)
            is_plain = load.startswith("pickle.")
            if has_objects or is_plain or any(each.startswith("numpy.") for each in names):
                text = recipes.TENSORS_RECIPE.format(path=path, load=load, name=name)
                raise PackageError(text) from error
        raise PackageError(str(error)) from error


def load_weights(network: nn.Module, tensors: dict[str, Tensor], architecture: str) -> None:
    """Load a state dict; raise PackageError if it does not fit or is not finite."""
    try:
        networks.load_tensors(network, tensors)
    except RuntimeError as error:
        reason = _compare(network.state_dict(), tensors) or "torch cannot copy them"
        raise PackageError(
            f"the checkpoint does not fit {architecture}: {reason}. Pass the --architecture that "
            "was trained, and --head if its last layers were replaced"
        ) from error
    if broken := [name for name, t in tensors.items() if not bool(torch.isfinite(t).all())]:
        raise PackageError(
            f"the checkpoint contains weights that are not finite: {_shorten(broken)}; the "
            "training diverged: pass an earlier checkpoint"
        )


def _compare(known: dict[str, Tensor], found: dict[str, Tensor]) -> str:
    """Return which tensors of a network are missing, unknown or of another shape."""
    counter = "num_batches_tracked"  # which may be missing
    differences = {
        "missing": [n for n in known if n not in found and not n.endswith(counter)],
        "unexpected": [n for n in found if n not in known],
        "of another shape": [
            f"{n} {tuple(found[n].shape)} instead of {tuple(known[n].shape)}"
            for n in known
            if n in found and found[n].shape != known[n].shape
        ],
    }
    return "; ".join(f"{kind}: {_shorten(names)}" for kind, names in differences.items() if names)


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return ", ".join(names[:_MAX_SHOWN]) + more


def global_names(path: Path) -> set[str]:
    """Return the functions and classes that the pickle in a file names; executes nothing."""
    found: set[str] = set()
    try:
        if entries := [each for each in zip_names(path) if each.endswith("/data.pkl")]:
            with ZipFile(path) as archive, archive.open(entries[0]) as file:
                return _names_in(file.read())
        with path.open("rb") as file:
            for _ in range(_PICKLES):
                found |= _names_in(file)
    except Exception:  # pickletools raises many types for what is no pickle; reading reports it
        return found
    return found


def _describe_load(path: Path) -> str | None:
    """Return the code that unpickles a file of torch or of pickle; None for another file."""
    file = repr(str(path))
    by_torch = f'torch.load({file}, map_location="cpu", weights_only=False)'
    if any(name.endswith("/data.pkl") for name in zip_names(path)):
        return by_torch
    try:
        with path.open("rb") as content:
            # All of it is parsed, so that a file that was cut off is none.
            values = [argument for _, argument, _ in islice(pickletools.genops(content), 2)]
            content.seek(0)
            for _ in pickletools.genops(content):
                pass
    except Exception:  # pickletools raises many types for what is no pickle
        return None
    is_torch = torch.serialization.MAGIC_NUMBER in values
    return by_torch if is_torch else f"pickle.loads(pathlib.Path({file}).read_bytes())"


def _names_in(pickle: Any) -> set[str]:
    """Return "module.name" for the globals of a pickle: its bytes, or a file at its beginning."""
    texts: list[str] = []
    names: set[str] = set()
    for code, argument, _ in pickletools.genops(pickle):
        if code.name == "GLOBAL" and isinstance(argument, str):
            names.add(argument.replace(" ", "."))
        elif code.name == "STACK_GLOBAL":  # written by protocol 4, after module and name
            names.add(".".join(texts[-2:]))
        elif isinstance(argument, str):
            texts.append(argument)
    return names


class _StandIn:
    """What an object of another library becomes: it ignores its arguments and its state."""

    def __new__(cls, *_: object, **__: object) -> "_StandIn":
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    is_network = False

    def __setstate__(self, state: object) -> None:
        self.is_network = isinstance(state, dict) and "_modules" in state


@contextmanager
def _stand_ins(names: set[str]) -> Iterator[None]:
    """Let torch's restricted unpickler build stand-ins for the globals that it does not know.

    Nothing is imported: torch looks a name up in its own list first, then among these classes.
    """
    classes: list[Any] = [(type("StandIn", (_StandIn,), {}), name) for name in sorted(names)]
    with torch.serialization.safe_globals(classes):
        yield


def _refuse_program(path: Path, name: str) -> None:
    names = zip_names(path)
    if any(each.endswith("/constants.pkl") or "/code/" in each for each in names):
        what, load = "TorchScript", f'torch.jit.load({str(path)!r}, map_location="cpu").eval()'
        export = 'dynamo=False, input_names=["image"], dynamic_axes={"image": {0: "n"}}'
    elif (path.suffix == ".pt2" and not any(each.endswith("/data.pkl") for each in names)) or any(
        each.endswith(("archive_format", "serialized_exported_program.json")) for each in names
    ):
        what, load = "a file of torch.export", f"torch.export.load({str(path)!r})"
        export = "dynamo=True, external_data=False"
    else:
        return
    raise PackageError(
        recipes.SCRIPT_RECIPE.format(path=path, what=what, load=load, export=export, name=name)
    )


def _find_network(path: Path, names: set[str]) -> str:
    """Return the key of the network in a file, such as `["model"]`; empty if it has none."""
    try:
        with _stand_ins(names):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # the restricted unpickler raises many types; the file is refused anyway
        return ""
    for key, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, _StandIn) and value.is_network:
            return f"[{key!r}]"
    return ""


def _refuse_network(path: Path, name: str, names: set[str], key: str, load: str) -> None:
    fields = {
        "key": key,
        "load": load,
        "path": path,
        "file": repr(str(path)),
        "name": name,
        "shell": shlex.quote(str(path)),
    }
    if any(each.startswith("fastai.learner.") for each in names):
        raise PackageError(recipes.LEARNER_RECIPE.format(**fields))
    if any(each.startswith("ultralytics.") for each in names):
        onnx = shlex.quote(str(path.with_suffix(".onnx")))
        raise PackageError(recipes.YOLO_RECIPE.format(**fields, onnx=onnx))
    if not any(_NETWORK.match(each) for each in names):
        return
    if any(each.startswith("torchvision.models.") for each in names):
        last = 'torch.save(network.state_dict(), "weights.pth")'
        rest = "weights.pth --architecture torchvision/ARCHITECTURE"
    else:
        last = (
            'torch.onnx.export(network.eval(), (torch.zeros(2, 3, 224, 224),), "model.onnx", '
            "dynamo=True, external_data=False, dynamic_shapes=({0: torch.export.Dim('n')},))"
        )
        rest = "model.onnx"
    raise PackageError(recipes.NETWORK_RECIPE.format(**fields, last=last, rest=rest))


def is_torch_file(path: Path) -> bool:
    """Return whether a file is one of `torch.save`, `torch.jit.save` or `torch.export.save`."""
    names = zip_names(path)
    is_archive = any(each.endswith(("data.pkl", "archive_format")) for each in names)
    return is_archive or first_bytes(path, 1) == b"\x80"
