"""The figures in a few lines, for a terminal."""

from collections.abc import Iterable

from evaluation.compare import Comparison
from evaluation.results import Evaluation
from evaluation.text import printable


def of_evaluation(found: Evaluation) -> str:
    """What matters most, one figure a line."""
    lines = [f"{found.model.name} {found.model.version} on {found.source}"]
    lines += [f"  {note}" for note in found.notes]
    rows: list[tuple[str, str]] = []
    if metrics := found.metrics:
        rows.append(("accuracy", f"{metrics.accuracy:.2%} of {metrics.count:,} pictures"))
        if metrics.top5 is not None:
            rows.append(("among the first five", f"{metrics.top5:.2%}"))
        rows.append(("F1, mean of classes", f"{metrics.macro.f1:.2%}"))
        if metrics.macro_auc is not None:
            rows.append(("AUC, mean of classes", f"{metrics.macro_auc:.4f}"))
        rows.append(("calibration error", f"{metrics.reliability.ece:.2%}"))
    if sets := found.sets:
        size = f"{sets.mean_size:.3f} labels on average"
        rows.append(("prediction sets", f"{sets.coverage:.2%} ({sets.promised:.0%}), {size}"))
    if found.flagged is not None:
        rows.append(("flagged as foreign", f"{found.flagged:.2%}"))
    if outliers := found.outliers:
        flagged = "not told" if outliers.flagged is None else f"{outliers.flagged:.2%} flagged"
        auroc = "" if outliers.auroc is None else f", AUROC {outliers.auroc:.4f}"
        rows.append(("outliers", f"{flagged}{auroc} ({outliers.answered:,} of {outliers.source})"))
    if latency := found.latency:
        each = f"{latency.p50:.1f} ms, 95 %: {latency.p95:.1f} ms, 99 %: {latency.p99:.1f} ms"
        rows.append(("one picture", f"{each}; {latency.per_second:,.0f} pictures a second"))
    if failures := found.failures:
        first = f"{failures[0].name}: {failures[0].error}"
        rows.append(("without an answer", f"{len(failures):,} (the first: {first})"))
    if not found.metrics:
        rows.append(("accuracy", "no labelled picture has an answer"))
    return "\n".join([*map(printable, lines), _table(rows)])


def of_comparison(found: Comparison) -> str:
    """Who is right where the other is not."""
    rows = [
        (f"A {found.a}", f"{found.accuracy_a:.2%} of {found.pictures:,} pictures"),
        (f"B {found.b}", f"{found.accuracy_b:.2%}"),
        ("only A is right", f"{len(found.only_a):,}"),
        ("only B is right", f"{len(found.only_b):,}"),
        ("agreement", f"{found.agreement:.2%}"),
        ("McNemar's exact p", f"{found.p_value:.3g}"),
    ]
    if found.left_out:
        rows.append(("left out", f"{found.left_out:,} that not both answered"))
    return _table(rows)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(printable(f"  {name:<22} {value}") for name, value in rows)
