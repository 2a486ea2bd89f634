"""What a refusal tells to type."""

from pathlib import Path
from typing import Final

from backend.inference.models.networks import torchvision_names

SCRIPT_RECIPE: Final = """{path} is {what}, which is a program and is not executed. \
If you trust it, type:
    python - <<'END'
    import torch
    network = {load}
    torch.onnx.export(network, (torch.zeros(1, 3, 224, 224),), "model.onnx", {export})
    END
    .venv/bin/python -m training.package {name} model.onnx
with the size of the network's input instead of 224"""
NETWORK_RECIPE: Final = """{path} is a pickled network, and loading it would execute code in it. \
If you trust it, type these lines where its classes can be imported:
    python - <<'END'
    import pathlib, pickle, torch
    network = {load}{key}.float()
    {last}
    END
    .venv/bin/python -m training.package {name} {rest}"""
TENSORS_RECIPE: Final = """{path} is a pickle that only executing code in it can read, because of \
its protocol, arrays of NumPy or other objects. If you trust it, type:
    python - <<'END'
    import pathlib, pickle, torch
    def convert(value):
        if isinstance(value, dict):
            return {{key: convert(each) for key, each in value.items()}}
        return torch.as_tensor(value) if hasattr(value, "shape") else value
    torch.save(convert({load}), "weights.pth")
    END
    .venv/bin/python -m training.package {name} weights.pth
with the options that you passed before"""
LEARNER_RECIPE: Final = """{path} is a pickled Learner of fastai, and loading it would execute \
code in it. If you trust it, type these lines where its classes can be imported:
    python - <<'END'
    from fastai.vision.all import load_learner
    import torch
    learn = load_learner({file})
    open("labels.txt", "w").write("\\n".join(map(str, learn.dls.vocab)))
    torch.save(learn.model.state_dict(), "weights.pth")
    END
    .venv/bin/python -m training.package {name} weights.pth --labels labels.txt \\
        --architecture torchvision/ARCHITECTURE"""
YOLO_RECIPE: Final = """{path} is a pickled network of ultralytics, and loading it would execute \
code in it. If you trust it, type where ultralytics is installed:
    yolo export model={shell} format=onnx
    .venv/bin/python -m training.package {name} {onnx}"""


def in_double_quotes(code: str) -> str:
    """Return code as it is written between double quotes in a shell."""
    for character in '\\"$`':
        code = code.replace(character, f"\\{character}")
    return code


def suggest_architecture(weights: Path) -> str:
    """Return what to pass as --architecture for a file, which may be named after its network."""
    known = torchvision_names()
    stem = weights.stem.lower()
    example = max((name for name in known if stem.startswith(name)), key=len, default="resnet18")
    return (
        "pass the network's name as --architecture torchvision/NAME or timm/NAME, for instance "
        f"--architecture torchvision/{example}"
    )
