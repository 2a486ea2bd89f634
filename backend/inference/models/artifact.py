"""Model folders: reading with verification of checksums, and writing.

models/mnist-cnn/
  manifest.json        see `Manifest`
  weights.safetensors  weights for torch (absent for a model packaged from ONNX)
  model.onnx           the same network for ONNX Runtime; may refer to the tensors in the weights
  model.int8.onnx      optional: the same network with 8-bit integers
  README.md            model card

A model that was taught from a few images has no network of its own. Its folder contains
head.safetensors instead, a linear layer for the features of its backbone, another served model.
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open

from backend.inference.errors import ArtifactError
from backend.inference.preprocessing.model_input import Preprocess
from calibration.apply import Calibration, OutputKind
from calibration.sigmoid import BINARY, MULTI_LABEL, SINGLE_LABEL, Task

MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "weights.safetensors"
ONNX: Final = "model.onnx"
INT8: Final = "model.int8.onnx"
HEAD: Final = "head.safetensors"
CARD: Final = "README.md"
LINEAR_HEAD: Final = "linear-head"  # the architecture of a taught model
FORMAT: Final = 1
_MAX_CARD: Final = 1_000_000  # bytes

# The architectures in `networks`, which is not imported here because it needs torch.
BUILTIN_ARCHITECTURES: Final = (
    "mnist-cnn",
    "mnist-mlp",
    "mnist-net",
    "efficientnet-lite0",
    "efficientnet-lite1",
    "efficientnet-lite2",
)
PLAIN_FILE_PATTERN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,127}")
NAME_PATTERN: Final = r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Backbone(BaseModel):
    """The model whose features a taught model classifies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME_PATTERN)
    sha256: Sha256 = Field(description="of its weights, or of its graph if it has no weights")


class Manifest(BaseModel):
    """The content of manifest.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(FORMAT, description="version of the manifest's format")
    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(min_length=1)
    title: str = ""
    description: str = ""
    license: str | None = None
    architecture: str = Field(
        description="built-in architecture, torchvision/NAME, onnx for a graph without weights, or "
        "linear-head for a taught model",
        pattern=rf"^({'|'.join(BUILTIN_ARCHITECTURES)}|torchvision/[a-z0-9_]+|onnx|{LINEAR_HEAD})$",
    )
    backbone: Backbone | None = Field(default=None, description="of a taught model only")
    task: Task = Field(
        default=SINGLE_LABEL,
        description="single-label: one label of each image is right; binary: one output, for the "
        "second of two labels; multi-label: any number of labels are right",
    )
    output: OutputKind = Field(
        default="logits",
        description="logits, of a softmax or, for binary and multi-label, of a sigmoid; or "
        "probabilities",
    )
    labels: tuple[str, ...] = Field(min_length=2, description="in the order of the outputs")
    label_ids: tuple[str, ...] | None = Field(
        default=None, description="an identifier for each label, such as its WordNet ID"
    )
    preprocess: Preprocess
    provenance: dict[str, str] = Field(
        default_factory=dict,
        description="for preprocess, labels and output: the file, option or guess it comes from",
    )
    metrics: dict[str, float] = Field(
        default_factory=dict, description="measured figures; accuracies are fractions of 1"
    )
    calibration: Calibration | None = None
    elements: int | None = Field(default=None, ge=1, description="number of weights in all tensors")
    files: dict[str, Sha256] = Field(description="SHA-256 of every other file in the folder")

    @model_validator(mode="after")
    def _check_label_ids(self) -> "Manifest":
        if self.label_ids is not None and len(self.label_ids) != len(self.labels):
            raise ValueError(
                f"label_ids must have one entry for each of the {len(self.labels)} labels, "
                f"not {len(self.label_ids)}"
            )
        return self

    @model_validator(mode="after")
    def _check_task(self) -> "Manifest":
        if self.task == BINARY and len(self.labels) != 2:
            raise ValueError(
                "labels must be two for the task binary, that of the output 0 first, "
                f"not {len(self.labels)}"
            )
        if self.task != SINGLE_LABEL and self.architecture == LINEAR_HEAD:
            raise ValueError(f"task must be {SINGLE_LABEL} with the architecture {LINEAR_HEAD}")
        if (calibration := self.calibration) is None:
            return self
        outputs = 1 if self.task == BINARY else len(self.labels)
        if calibration.scaling is not None:
            if self.task == SINGLE_LABEL:
                raise ValueError(f"calibration.scaling must be null for the task {SINGLE_LABEL}")
            if len(calibration.scaling) != outputs:
                raise ValueError(f"calibration.scaling must have {outputs} entries")
        if (calibration.thresholds is not None) != (self.task == MULTI_LABEL):
            raise ValueError(f"calibration.thresholds is for the task {MULTI_LABEL} only")
        if calibration.thresholds is not None and len(calibration.thresholds) != outputs:
            raise ValueError(f"calibration.thresholds must have {outputs} entries")
        if self.task != SINGLE_LABEL and calibration.max_ood_score is not None:
            raise ValueError(
                f"calibration.max_ood_score must be null for the task {self.task}: the score "
                "requires the logits of a softmax"
            )
        return self

    @model_validator(mode="after")
    def _check_backbone(self) -> "Manifest":
        is_taught = self.architecture == LINEAR_HEAD
        if is_taught != (self.backbone is not None):
            raise ValueError(f"backbone is required with the architecture {LINEAR_HEAD} only")
        if is_taught and self.output != "logits":
            raise ValueError(f"output must be logits with the architecture {LINEAR_HEAD}")
        method = self.calibration.ood_method if self.calibration else None
        if method == "feature_distance" and not is_taught:
            raise ValueError(f"calibration.ood_method {method} requires a {LINEAR_HEAD}")
        return self

    @model_validator(mode="after")
    def _check_score(self) -> "Manifest":
        has_limit = self.calibration is not None and self.calibration.max_ood_score is not None
        if has_limit and self.output == "probabilities":
            raise ValueError(
                "calibration.max_ood_score must be null for a model that returns probabilities: "
                "the score requires logits"
            )
        return self


class Artifact(BaseModel):
    """A model folder with a valid manifest and verified files."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    manifest: Manifest

    @property
    def onnx(self) -> Path | None:
        """Path of the ONNX graph, if the folder has one."""
        return self.folder / ONNX if ONNX in self.manifest.files else None

    @property
    def int8(self) -> Path | None:
        """Path of the quantized ONNX graph, if the folder has one."""
        return self.folder / INT8 if INT8 in self.manifest.files else None

    @property
    def head(self) -> Path | None:
        """Path of the last layer of a taught model; None for other models."""
        return self.folder / HEAD if HEAD in self.manifest.files else None

    @property
    def network_sha256(self) -> str:
        """SHA-256 of the weights, or of the graph if the folder has no weights."""
        files = self.manifest.files
        return files.get(WEIGHTS) or files[ONNX]

    @property
    def weights(self) -> Path | None:
        """Path of the safetensors file, if the folder has one."""
        return self.folder / WEIGHTS if WEIGHTS in self.manifest.files else None


def read(folder: Path) -> Artifact:
    """Read and verify the model folder `folder`.

    Raise ArtifactError, which names the folder and the reason, if the manifest is missing, damaged
    or of a newer format, if a file is missing or differs from its checksum, or if the weights are
    not finite or their number differs from the manifest.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items():
        path = _inside(folder, name)
        if not path.is_file():
            raise ArtifactError(f"{folder}: {name} is missing")
        if sha256(path) != expected:
            raise ArtifactError(
                f"{folder}: {name} does not match the manifest (SHA-256 differs); "
                "copy the folder again"
            )
    model = Artifact(folder=folder, manifest=manifest)
    if model.weights is not None:
        elements = count_elements(model.weights)
        if manifest.elements not in (None, elements):
            raise ArtifactError(
                f"{folder}: {WEIGHTS} has {elements:,} weights, but the manifest says "
                f"{manifest.elements:,}"
            )
    return model


def read_card(folder: Path) -> str | None:
    """Return the model card of `folder`, or None if it has none or the card is not usable.

    A card that is larger than 1 MB, or a symbolic link out of the folder, is not returned.
    """
    try:
        path = _inside(folder, CARD)
        if not path.is_file() or path.stat().st_size > _MAX_CARD:
            return None
        return path.read_text("utf-8", "replace")
    except (ArtifactError, OSError):
        return None


def count_elements(path: Path) -> int:
    """Return the number of weights in all tensors of a safetensors file.

    Raise ArtifactError if a weight is not finite, or if the file is not a safetensors file: a
    pickle is never opened.
    """
    elements = 0
    try:
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 (not a dict)
                tensor = np.asarray(file.get_tensor(name))
                if not np.isfinite(tensor).all():
                    raise ArtifactError(f"{path.parent}: {path.name}: {name} is not finite")
                elements += tensor.size
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path.parent}: {path.name} is damaged, or not a safetensors file"
        ) from error
    return elements


def write_manifest(folder: Path, manifest: Manifest) -> Artifact:
    """Write `manifest` into `folder`, with the checksums of the files that are there now.

    The manifest is written last and atomically, so a folder with a manifest is complete.
    """
    files = {
        path.name: sha256(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name in {WEIGHTS, ONNX, INT8, HEAD, CARD}
    }
    elements = count_elements(folder / WEIGHTS) if WEIGHTS in files else None
    manifest = manifest.model_copy(update={"files": files, "elements": elements})
    draft = folder / f".{MANIFEST}.tmp"
    draft.write_text(to_json(manifest) + "\n", encoding="utf-8")
    draft.replace(folder / MANIFEST)
    return read(folder)


def to_json(manifest: Manifest) -> str:
    """Return the content of manifest.json."""
    # Older readers of this format do not know these fields.
    optional = ("calibration", "label_ids", "backbone", "provenance")
    excluded: dict[str, Any] = {name: True for name in optional if not getattr(manifest, name)}
    if manifest.task == SINGLE_LABEL:
        excluded |= {"task": True, "calibration": {"scaling": True, "thresholds": True}}
        if manifest.calibration is None:
            excluded["calibration"] = True
    return manifest.model_dump_json(indent=2, exclude=excluded)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of `folder`; the files that it lists need not exist yet.

    Raise ArtifactError, which names the folder and the reason, if the manifest is missing, damaged
    or of a newer format, or if it lists no network or head, or a name that is not a plain file
    name.
    """
    path = _inside(folder, MANIFEST)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ArtifactError(f"{folder}: no {MANIFEST}; this is not a model folder") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{folder}: {MANIFEST} cannot be read") from error
    _reject_newer_format(folder, text)
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise ArtifactError(f"{folder}: {MANIFEST}: {_first_message(error)}") from error
    for name in manifest.files:
        if not PLAIN_FILE_PATTERN.fullmatch(name) or name == MANIFEST:
            raise ArtifactError(f"{folder}: the manifest names {name!r}, which is not a plain file")
    if manifest.backbone is not None:
        if HEAD not in manifest.files:
            raise ArtifactError(f"{folder}: the manifest does not list {HEAD}")
    elif not {ONNX, WEIGHTS} & manifest.files.keys():
        raise ArtifactError(f"{folder}: the manifest lists neither {ONNX} nor {WEIGHTS}")
    return manifest


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file; raise ArtifactError if it is a link out of `folder`.

    A folder from someone else could otherwise publish any file of this machine as its card.
    """
    path = folder / name
    # `Path.resolve` raises RuntimeError for a loop of links.
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(folder.resolve()):
        raise ArtifactError(f"{folder}: {name} is a symbolic link to a file outside of the folder")
    return path


def _reject_newer_format(folder: Path, text: str) -> None:
    """Raise ArtifactError for a newer format, before its unknown fields are reported."""
    try:
        version = json.loads(text)["format"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return
    if isinstance(version, int) and version > FORMAT:
        raise ArtifactError(
            f"{folder}: {MANIFEST} has format {version}, but this version of Prism reads format "
            f"{FORMAT}; update Prism or package the model again"
        )


def _first_message(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    location = ".".join(str(part) for part in first["loc"])
    return f"{location}: {first['msg']}" if location else str(first["msg"])


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
