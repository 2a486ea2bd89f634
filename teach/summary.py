"""The report as text for a terminal."""

from typing import Final

from evaluation.escaping import escape_unprintable
from teach.types import Report

MAX_LISTED: Final = 10


def summarize(report: Report) -> str:
    """Return the figures, the most frequent confusions, the suspects and the warnings."""
    lines = [
        f"{sum(report.counts):,} images of {len(report.labels)} classes",
        f"accuracy {report.accuracy:.1%}, 95% interval {report.interval.low:.1%} to "
        f"{report.interval.high:.1%} (cross-validation)",
        f"95% prediction sets: {report.mean_set_size:.2f} labels on average",
        f"out-of-distribution score: {report.ood_method}"
        + ("" if report.ood_auroc is None else f", AUROC {report.ood_auroc:.3f}"),
        *_confusions(report),
    ]
    if report.suspects:
        lines.append(f"Probably mislabeled or hard images ({len(report.suspects)}):")
        lines += [
            f"  {each.name}: labeled {each.label} ({each.probability:.0%}), "
            f"predicted {each.prediction}"
            for each in report.suspects[:MAX_LISTED]
        ]
    if report.unusable:
        lines.append(f"Files that are no usable images ({len(report.unusable)}):")
        lines += [f"  {name}" for name in report.unusable[:MAX_LISTED]]
    lines += [f"Note: {warning}" for warning in report.warnings]
    return "\n".join(map(escape_unprintable, lines))


def _confusions(report: Report) -> list[str]:
    """Return the most frequent confusions."""
    wrong = sorted(
        (
            (int(count), true, predicted)
            for true, row in zip(report.labels, report.confusion, strict=True)
            for predicted, count in zip(report.labels, row, strict=True)
            if true != predicted and count
        ),
        key=lambda each: (-each[0], each[1], each[2]),
    )
    return [
        f"  {true} predicted as {other}: {count:,}" for count, true, other in wrong[:MAX_LISTED]
    ]
