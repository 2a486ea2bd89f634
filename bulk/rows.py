"""Rows of the results: one for each image, as documented in docs/bulk.md."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from backend.inference.types import ClassificationResult
from bulk.contents import Content
from bulk.errors import error_code
from bulk.listing import MODEL_KEY, Image
from evaluation.escaping import escape_unencodable
from evaluation.sources.class_folders import UNLABELED_FOLDERS

SCHEMA: Final = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("container", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("prediction", pa.string()),
        pa.field("confidence", pa.float32()),
        pa.field("prediction_set", pa.list_(pa.string())),
        pa.field("labels", pa.list_(pa.string())),
        pa.field("in_distribution", pa.bool_()),
        pa.field("ood_score", pa.float32()),
        pa.field(
            "top",
            pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float32())])),
        ),
        pa.field("ms", pa.float32()),
        pa.field("error", pa.string()),
    ]
)
# Of a job with --labels; the report is made from them.
LABELED_SCHEMA: Final = SCHEMA.append(pa.field("label", pa.string())).append(
    pa.field("probabilities", pa.list_(pa.float32()))
)


@dataclass(frozen=True, slots=True)
class RowFormat:
    """What the rows of a job contain."""

    coverage: float
    top_k: int
    labeled: bool
    model: str
    version: str


def make_row(
    image: Image,
    content: Content,
    result: ClassificationResult | Exception,
    form: RowFormat,
) -> dict[str, Any]:
    """Return the row of an image; a failed one has an error code and no prediction."""
    row: dict[str, Any] = {
        "path": escape_unencodable(image.path),
        "container": None if image.container is None else escape_unencodable(image.container),
        "sha256": hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else None,
    }
    if form.labeled:
        row["label"] = image.label
    if isinstance(result, Exception):
        return row | {"error": error_code(result)}
    top = result.top(form.top_k)
    above = result.labels_above_threshold()
    row |= {
        "prediction": top[0].label,
        "confidence": top[0].probability,
        "prediction_set": result.prediction_set(form.coverage),
        "labels": None if above is None else [score.label for score in above],
        "in_distribution": result.in_distribution,
        "ood_score": result.ood_score,
        "top": [{"label": score.label, "probability": score.probability} for score in top],
        "ms": result.timings.decode + result.timings.inference,
    }
    if form.labeled:
        row["probabilities"] = result.probabilities
    return row


def to_parquet(rows: Sequence[Mapping[str, Any]], form: RowFormat) -> bytes:
    """Return the Parquet file of rows; model and version are in the metadata of its schema."""
    schema = LABELED_SCHEMA if form.labeled else SCHEMA
    metadata = {MODEL_KEY: form.model, "prism.version": form.version}
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    table = pa.table(columns, schema=schema.with_metadata(metadata))
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def class_name(image: Image, level: int) -> str | None:
    """Return the label of an image in its source, or the class folder in its path, or None."""
    if image.label is not None:
        return image.label
    parts = image.path.split("/")
    name = parts[level] if len(parts) > level + 1 else None
    return None if name in UNLABELED_FOLDERS else name
