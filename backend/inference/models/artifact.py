"""A model folder: manifest, weights, ONNX graph, model card; read with its checksums, and written.

models/mnist-cnn/
  manifest.json        what is written down here as `Manifest`
  weights.safetensors  torch's weights (absent for a model that came as ONNX)
  model.onnx           the same network for ONNX Runtime
  README.md            the model card
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from backend.inference.errors import ArtifactError
from backend.inference.models.weights import count_elements
from backend.inference.preprocessing.preprocess import Preprocess
from calibration.apply import Calibration, OutputKind

MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "weights.safetensors"
ONNX: Final = "model.onnx"
CARD: Final = "README.md"
FORMAT: Final = 1

# The architectures of `networks`, which is not imported here because it needs torch.
OURS: Final = ("mnist-cnn", "mnist-mlp", "mnist-net")
PLAIN_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,127}")
NAME_PATTERN: Final = r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """What a model folder says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(FORMAT, description="version of this layout")
    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(min_length=1)
    title: str = ""
    description: str = ""
    license: str | None = None
    architecture: str = Field(
        description="one of ours, torchvision/NAME, or onnx for a graph without weights",
        pattern=rf"^({'|'.join(OURS)}|torchvision/[a-z0-9_]+|onnx)$",
    )
    output: OutputKind = "logits"
    labels: tuple[str, ...] = Field(min_length=2, description="in the order of the outputs")
    preprocess: Preprocess
    metrics: dict[str, float] = Field(
        default_factory=dict, description="measured figures, accuracies as fractions of 1"
    )
    calibration: Calibration | None = None
    elements: int | None = Field(
        default=None, ge=1, description="numbers in the weights, all tensors together"
    )
    files: dict[str, Sha256] = Field(description="SHA-256 of every other file of the folder")

    @model_validator(mode="after")
    def _check_score(self) -> "Manifest":
        can_tell = self.calibration is not None and self.calibration.max_ood_score is not None
        if can_tell and self.output == "probabilities":
            raise ValueError(
                "calibration.max_ood_score must be null for a model that gives probabilities: "
                "the score is made of logits"
            )
        return self


class Artifact(BaseModel):
    """A model folder whose manifest is valid and whose files are what the manifest says."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    manifest: Manifest

    @property
    def onnx(self) -> Path | None:
        """The ONNX graph, where the folder has one."""
        return self.folder / ONNX if ONNX in self.manifest.files else None

    @property
    def weights(self) -> Path | None:
        """The safetensors file, where the folder has one."""
        return self.folder / WEIGHTS if WEIGHTS in self.manifest.files else None


def read(folder: Path) -> Artifact:
    """Read and verify the model folder `folder`.

    Raises ArtifactError, naming the folder and the reason, where the manifest is missing, damaged
    or of a newer format, a file is missing or differs from its checksum, or the weights are not
    finite or not as many as the manifest says.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{folder}: {name} is missing")
        if _sha256(path) != expected:
            raise ArtifactError(
                f"{folder}: {name} is not the file that the manifest describes (SHA-256 differs); "
                "copy the folder again"
            )
    model = Artifact(folder=folder, manifest=manifest)
    if model.weights is not None:
        elements = count_elements(model.weights)
        if manifest.elements not in (None, elements):
            raise ArtifactError(
                f"{folder}: {WEIGHTS} holds {elements:,} numbers, but the manifest says "
                f"{manifest.elements:,}: its tensors are of other shapes"
            )
    return model


def write_manifest(folder: Path, manifest: Manifest) -> Artifact:
    """Write `manifest` into `folder`, with the checksums of the files that lie there now.

    The manifest is written last and moved into place, so a folder with a manifest is whole.
    """
    files = {
        path.name: _sha256(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name in {WEIGHTS, ONNX, CARD}
    }
    elements = count_elements(folder / WEIGHTS) if WEIGHTS in files else None
    manifest = manifest.model_copy(update={"files": files, "elements": elements})
    draft = folder / f".{MANIFEST}.tmp"
    # Who reads this format without knowing of calibration reads what has none.
    left_out = {"calibration"} if manifest.calibration is None else set[str]()
    text = manifest.model_dump_json(indent=2, exclude=left_out)
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(folder / MANIFEST)
    return read(folder)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of `folder`; the files that it lists need not be there yet.

    Raises ArtifactError, naming the folder and the reason, where it is missing, damaged or of a
    newer format, or lists no network, or something that is not a plain file of the folder.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ArtifactError(f"{folder}: no {MANIFEST}; this is not a model folder") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{folder}: {MANIFEST} cannot be read") from error
    _refuse_newer(folder, text)
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise ArtifactError(f"{folder}: {MANIFEST}: {_first_reason(error)}") from error
    for name in manifest.files:
        if not PLAIN_FILE.fullmatch(name) or name == MANIFEST:
            raise ArtifactError(f"{folder}: the manifest names {name!r}, which is not a plain file")
    if not {ONNX, WEIGHTS} & manifest.files.keys():
        raise ArtifactError(f"{folder}: the manifest lists neither {ONNX} nor {WEIGHTS}")
    return manifest


def _refuse_newer(folder: Path, text: str) -> None:
    """Say that a manifest is newer before its unknown fields are called mistakes."""
    try:
        version = json.loads(text)["format"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return
    if isinstance(version, int) and version > FORMAT:
        raise ArtifactError(
            f"{folder}: {MANIFEST} has format {version}, this version of Prism reads {FORMAT}; "
            "update Prism or package the model again"
        )


def _first_reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
