"""A checkpoint of one of our architectures -> a model folder that serves.

    .venv/bin/python -m training.package NAME --architecture mnist-net --checkpoint mnist_cnn.pt \\
        --out DIR
"""

import argparse
import hashlib
import re
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from backend.inference import networks
from backend.inference.artifact import NAME_PATTERN, Manifest
from backend.inference.checkpoint import read_state_dict
from backend.inference.errors import ArtifactError
from backend.inference.preprocess import DigitPreprocess, find_digit, normalize
from backend.inference.types import Floats
from training import pen
from training.digits import LABELS
from training.export import Exported, export

PROBES_PER_DIGIT = 10

CARD = """# {name}

The architecture `{architecture}` with the weights of the checkpoint `{checkpoint}`
(SHA-256 `{sha256}`).

Largest difference between torch and ONNX Runtime on {probes} drawn digits: {{parity:.1e}}.
"""


class PackageError(Exception):
    """What was given cannot become a model folder; the text says why."""


def package(
    name: str,
    architecture: str,
    checkpoint: Path,
    out: Path,
    *,
    labels: tuple[str, ...] = LABELS,
    sha256: str | None = None,
) -> Exported:
    """Write the model folder `out/name` from a state dict (.safetensors, or torch's .pt).

    Raises PackageError or ArtifactError where the checkpoint does not fit.
    """
    network = networks.build(architecture)
    digest = _verify(checkpoint, sha256)
    _load_strictly(
        network, read_state_dict(checkpoint, network.state_dict()), checkpoint, architecture
    )
    spec = DigitPreprocess()
    probe = _probe(spec)
    with torch.inference_mode():
        outputs = network.eval()(torch.from_numpy(probe[:1])).shape[1]
    if outputs != len(labels):
        raise PackageError(
            f"{architecture} has {outputs} outputs, but there are {len(labels)} labels"
        )
    manifest = Manifest(
        name=name,
        version="1",
        title=name,
        description=f"{architecture}, packaged from {checkpoint.name}",
        architecture=architecture,
        labels=labels,
        preprocess=spec,
        files={},
    )
    card = CARD.format(
        name=name,
        architecture=architecture,
        checkpoint=checkpoint.name,
        sha256=digest,
        probes=len(probe),
    )
    return export(network, manifest, out / name, probe, card)


def _verify(path: Path, expected: str | None) -> str:
    if not path.is_file():
        raise PackageError(f"there is no checkpoint {path}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if expected is not None and digest != expected.lower():
        raise PackageError(f"{path} has SHA-256 {digest}, not the one given")
    return digest


def _load_strictly(
    network: nn.Module, tensors: dict[str, Tensor], path: Path, architecture: str
) -> None:
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise PackageError(f"{path} does not fit {architecture}: {_mismatch(error)}") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise PackageError(f"{path} holds weights that are not finite")


def _mismatch(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines()[1:]]
    return lines[0] if lines else "other tensors than the architecture's"


def _probe(spec: DigitPreprocess) -> Floats:
    """Drawn digits as inputs, to compare the runtimes on."""
    rng = np.random.default_rng(0)
    drawn = [pen.write(digit, rng) for digit in range(10) for _ in range(PROBES_PER_DIGIT)]
    return normalize(np.stack([find_digit(picture, spec) for picture in drawn]), spec)


def main(arguments: list[str] | None = None) -> None:
    """Read the command line; exit with one line where something does not fit."""
    parser = argparse.ArgumentParser(
        prog="python -m training.package", description="Make a model folder from a checkpoint."
    )
    parser.add_argument("name", help="of the model; its folder is OUT/NAME")
    parser.add_argument("--architecture", required=True, choices=sorted(networks.ARCHITECTURES))
    parser.add_argument("--checkpoint", type=Path, required=True, help=".pt or .safetensors")
    parser.add_argument("--labels", type=Path, help="a text file, one label a line")
    parser.add_argument("--sha256", help="that the checkpoint must have")
    parser.add_argument("--out", type=Path, default=Path("models"))
    given = parser.parse_args(arguments)
    if not re.fullmatch(NAME_PATTERN, given.name):
        parser.error("NAME is made of small letters, digits, dots, dashes and underscores")
    try:
        labels = LABELS if given.labels is None else tuple(given.labels.read_text().splitlines())
        exported = package(
            given.name,
            given.architecture,
            given.checkpoint,
            given.out,
            labels=labels,
            sha256=given.sha256,
        )
    except (PackageError, ArtifactError, OSError) as error:
        sys.exit(f"error: {error}")
    print(
        f"wrote {exported.artifact.folder}; torch and ONNX differ by {exported.parity:.1e} at most"
    )


if __name__ == "__main__":
    main()
