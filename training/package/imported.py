"""A foreign classifier as a kind of `training.package.kinds` has read it."""

import argparse
from dataclasses import dataclass, field, replace

import onnx
from torch import nn

from backend.inference.preprocessing.digit_crop import DigitPreprocess
from backend.inference.preprocessing.model_input import Preprocess
from calibration.apply import OutputKind
from calibration.sigmoid import BINARY, Task
from training.package.labels import read_labels, shorten
from training.package.model_spec import PRESETS, PackageError, read_spec

ASSUMED = "assumed: "  # how the provenance of a guess begins
EXPORTED = "onnx"  # the architecture of a model folder that holds a graph and no weights


@dataclass(frozen=True)
class Imported:
    """A classifier, and what its files say about it.

    `model` maps inputs (N, *spec.input_shape), float32, to scores (N, C), float32. `architecture`
    is one that `networks.build` knows, or EXPORTED. `labels`, `spec` and `output` are None if the
    files do not tell. `origin` is a sentence for the model card. `provenance` tells for
    `preprocess`, `labels` and `output` which file or option each comes from; a guess begins with
    ASSUMED.
    """

    model: nn.Module | onnx.ModelProto
    architecture: str
    labels: tuple[str, ...] | None
    spec: Preprocess | None
    output: OutputKind | None
    origin: str
    provenance: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # lines for the report
    task: Task | None = None  # None: detected from the outputs

    def require_spec(self) -> Preprocess:
        """Return the preprocessing; raise PackageError if nothing tells it."""
        if self.spec is None:
            raise PackageError(
                "the file does not describe how images become inputs; pass --preprocess with "
                "imagenet, digit or a JSON file (docs/models.md)"
            )
        return self.spec


def with_options(imported: Imported, options: argparse.Namespace) -> Imported:
    """Return `imported` with the --labels, --preprocess and --output of the command line."""
    provenance = dict(imported.provenance)
    # Of values that an archive has set in place of the user.
    origins: dict[str, str] = getattr(options, "origins", {})
    labels, spec, output = imported.labels, imported.spec, imported.output
    if options.labels:
        labels = read_labels(options.labels)
        _compare_labels(labels, imported)
        provenance["labels"] = origins.get("labels", f"--labels {options.labels.name}")
    if options.preprocess:
        spec = _read_spec(options.preprocess, imported)
        provenance["preprocess"] = origins.get("preprocess", f"--preprocess {options.preprocess}")
    task = imported.task
    if options.task:
        task = options.task
        provenance["task"] = f"--task {task}"
    if options.output:
        output = options.output
        provenance["output"] = f"--output {options.output}"
    return replace(
        imported, labels=labels, spec=spec, task=task, output=output, provenance=provenance
    )


def _compare_labels(given: tuple[str, ...], imported: Imported) -> None:
    """Raise PackageError if --labels differs from the file's labels in number or only in order."""
    known = imported.labels
    if known is None or imported.task == BINARY:
        return
    source = imported.provenance.get("labels", "the file")
    if len(given) != len(known):
        raise PackageError(
            f"--labels names {shorten(given)}, but {source} names {shorten(known)}; correct the "
            "file, or leave --labels out"
        )
    if given != known and sorted(given) == sorted(known):
        first = next(n for n, label in enumerate(given) if label != known[n])
        raise PackageError(
            f"--labels has another order than {source}: label {first + 1} is {given[first]!r} "
            f"instead of {known[first]!r}; leave --labels out"
        )


def _read_spec(name: str, imported: Imported) -> Preprocess:
    """Return the spec `name`; a preset gets the size and the layout of an exported graph's input"""
    known = imported.spec
    if name not in PRESETS or known is None or imported.architecture != EXPORTED:
        return read_spec(name)
    side = known.size if isinstance(known, DigitPreprocess) else known.crop[0]
    return read_spec(name, side).model_copy(update={"layout": known.layout})
