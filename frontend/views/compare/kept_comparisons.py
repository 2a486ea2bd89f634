"""Comparisons as bytes for the page's store, with small copies of some images."""

from dataclasses import dataclass
from typing import Final

from client import ModelInfo
from evaluation.compare import Comparison
from evaluation.results import Evaluation
from frontend.datasets.kept_evaluations import KeptDataset, keep_dataset
from frontend.state.kept_jobs import Kind
from frontend.state.packing import pack, unpack
from frontend.views.compare.comparison_job import ComparisonResult


@dataclass(frozen=True, slots=True)
class _KeptComparison:
    a: ModelInfo
    b: ModelInfo
    data: KeptDataset
    evaluations: list[Evaluation]
    comparison: Comparison | None
    error: str | None


def _pack(result: ComparisonResult) -> bytes:
    comparison = result.comparison
    names = (*comparison.only_a, *comparison.only_b) if comparison else ()
    data = keep_dataset(result.data, names)
    return pack(
        _KeptComparison(result.a, result.b, data, result.evaluations, comparison, result.error)
    )


def _unpack(content: bytes) -> ComparisonResult:
    kept = unpack(content, _KeptComparison)
    data = kept.data.restore()
    return ComparisonResult(kept.a, kept.b, data, kept.evaluations, kept.comparison, kept.error)


COMPARISON: Final = Kind("comparison", _pack, _unpack)
