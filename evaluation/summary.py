"""Summaries of results as text for a terminal."""

from collections.abc import Mapping

from evaluation.compare import Comparison
from evaluation.escaping import escape_unprintable
from evaluation.results import Evaluation


def summarize_evaluation(evaluation: Evaluation) -> str:
    """Return the main metrics, one per line."""
    lines = [f"{evaluation.model.name} {evaluation.model.version} on {evaluation.source}"]
    lines += [f"  {note}" for note in evaluation.notes]
    rows: dict[str, str] = {}
    if metrics := evaluation.metrics:
        rows["accuracy"] = f"{metrics.accuracy:.2%} of {_count_images(metrics.count)}"
        interval = metrics.accuracy_interval
        rows["95% interval"] = f"{interval.low:.2%} to {interval.high:.2%}"
        if metrics.top5 is not None:
            rows["top-5 accuracy"] = f"{metrics.top5:.2%}"
        rows["macro F1"] = f"{metrics.macro.f1:.2%}"
        if metrics.macro_auc is not None:
            rows["macro AUC"] = f"{metrics.macro_auc:.4f}"
        rows["expected calibration error"] = f"{metrics.reliability.ece:.2%}"
    if labels := evaluation.label_metrics:
        interval = labels.exact_match_interval
        if labels.mean_average_precision is not None:
            rows["mean average precision"] = f"{labels.mean_average_precision:.4f}"
        if labels.macro is not None:
            rows["macro F1"] = f"{labels.macro.f1:.2%}"
        rows["micro F1"] = f"{labels.micro.f1:.2%}"
        rows["exact match"] = f"{labels.exact_match:.2%} of {_count_images(labels.count)}"
        rows["95% interval"] = f"{interval.low:.2%} to {interval.high:.2%}"
    if sets := evaluation.sets:
        coverage = f"{sets.coverage:.2%} coverage (target {sets.promised:.0%})"
        rows["prediction sets"] = f"{coverage}, {sets.mean_size:.3f} labels on average"
    if evaluation.flagged is not None:
        rows["out of distribution"] = f"{evaluation.flagged:.2%}"
    if outliers := evaluation.outliers:
        flagged = "no scores" if outliers.flagged is None else f"{outliers.flagged:.2%} detected"
        auroc = "" if outliers.auroc is None else f", AUROC {outliers.auroc:.4f}"
        rows["outliers"] = f"{flagged}{auroc} ({outliers.answered:,} from {outliers.source})"
    if latency := evaluation.latency:
        times = f"median {latency.p50:.1f} ms, p95 {latency.p95:.1f} ms, p99 {latency.p99:.1f} ms"
        rows["time per image"] = f"{times}; {latency.per_second:,.0f} images/s"
    if failures := evaluation.failures:
        first = f"{failures[0].name}: {failures[0].error}"
        rows["failed"] = f"{len(failures):,} (the first: {first})"
    if not evaluation.metrics and not evaluation.label_metrics:
        rows["accuracy"] = "no labeled image was classified"
    return "\n".join([*map(escape_unprintable, lines), _format_table(rows)])


def summarize_comparison(comparison: Comparison) -> str:
    """Return the main results of a comparison, one per line."""
    images = _count_images(comparison.image_count)
    rows = {
        f"A {comparison.a}": f"{comparison.accuracy_a:.2%} of {images}",
        f"B {comparison.b}": f"{comparison.accuracy_b:.2%}",
        "B minus A": _describe_difference(comparison),
        "only A correct": f"{len(comparison.only_a):,}",
        "only B correct": f"{len(comparison.only_b):,}",
        "agreement": f"{comparison.agreement:.2%}",
        "McNemar's exact p": f"{comparison.p_value:.3g}",
    }
    if comparison.left_out:
        rows["excluded"] = f"{comparison.left_out:,} not classified by both models"
    return _format_table(rows)


def _describe_difference(comparison: Comparison) -> str:
    interval = comparison.accuracy_difference
    points = [comparison.accuracy_b - comparison.accuracy_a, interval.low, interval.high]
    difference, low, high = (f"{100 * value:+.2f}" for value in points)
    return f"{difference} points (95% interval: {low} to {high})"


def _count_images(number: int) -> str:
    return f"{number:,} {'image' if number == 1 else 'images'}"


def _format_table(rows: Mapping[str, str]) -> str:
    return "\n".join(escape_unprintable(f"  {name:<28} {text}") for name, text in rows.items())
